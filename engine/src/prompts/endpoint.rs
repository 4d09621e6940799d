//! One request to an OpenAI-compatible endpoint. The key is sent to that address alone: no redirect
//! is followed, and it is taken out of whatever comes back.

use std::fmt;
use std::io;
use std::time::{Duration, SystemTime};

use thiserror::Error;

use super::job::Request;
use super::retry::retry_after;

#[derive(Debug, Error)]
pub enum EndpointError {
    #[error("`{got}` is no address of an endpoint: wants one such as `http://localhost:4000/v1`")]
    Url { got: String },
    #[error("the endpoint's address holds a user or a key; the key belongs in {variable}")]
    UrlWithKey { variable: String },
    #[error("the key in {variable} holds a character that no key has; set it again")]
    Key { variable: String },
}

/// A secret. Its text goes into a request's header and nowhere else.
#[derive(Clone)]
pub struct Key(String);

impl Key {
    /// The key in an environment variable, `None` if it is unset or empty. Errors: `Key`.
    pub fn of_variable(variable: &str) -> Result<Option<Key>, EndpointError> {
        let Some(text) = std::env::var_os(variable) else { return Ok(None) };
        let wrong = || EndpointError::Key { variable: variable.to_owned() };
        let text = text.into_string().map_err(|_| wrong())?;
        match text.trim() {
            "" => Ok(None),
            key if key.chars().all(|c| c.is_ascii_graphic()) => Ok(Some(Key(key.to_owned()))),
            _ => Err(wrong()),
        }
    }

    /// A text without the key. Local servers take any word for a key: one that is no secret stays,
    /// because it may well be a word of a sentence.
    fn hidden(&self, text: String) -> String {
        let is_secret = self.0.len() >= SHORTEST_SECRET;
        if is_secret && text.contains(&self.0) { text.replace(&self.0, "[key]") } else { text }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Key")
    }
}

const SHORTEST_SECRET: usize = 8;

pub struct Endpoint {
    agent: ureq::Agent,
    base: String,
    key: Option<Key>,
    timeout: Duration,
}

/// What came back.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) status: u16,
    pub(super) body: String,
    /// Pause that the endpoint asks for.
    pub(super) retry_after: Option<Duration>,
    /// What it says the request cost.
    pub(super) cost: Option<f64>,
}

/// Why nothing came back.
#[derive(Debug)]
pub(super) struct NotSent {
    pub(super) message: String,
    /// Nobody is there: others will not be reached either.
    pub(super) is_unreachable: bool,
    /// Whether it may go better the next time.
    pub(super) is_passing: bool,
}

/// No reply with sentences is larger; the plugin's own limit is below.
const MAX_REPLY_BYTES: u64 = 4 << 20;

impl Endpoint {
    /// `base` is the address that paths are appended to, `timeout` bounds a request as a whole.
    /// Errors: `Url`, `UrlWithKey`.
    pub fn new(
        base: &str,
        key: Option<Key>,
        timeout: Duration,
        variable: &str,
    ) -> Result<Endpoint, EndpointError> {
        let base = base.trim().trim_end_matches('/').trim_end_matches("/chat/completions");
        let wrong = || EndpointError::Url { got: base.escape_debug().to_string() };
        let uri: ureq::http::Uri = base.parse().map_err(|_| wrong())?;
        let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
        let authority = uri.authority().filter(|_| is_http && uri.query().is_none());
        if authority.ok_or_else(wrong)?.as_str().contains('@') {
            return Err(EndpointError::UrlWithKey { variable: variable.to_owned() });
        }
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_connect(Some(Duration::from_secs(20).min(timeout)))
            .timeout_global(Some(timeout))
            .build();
        Ok(Endpoint { agent: config.into(), base: base.to_owned(), key, timeout })
    }

    pub fn base(&self) -> &str {
        &self.base
    }

    /// Whether the key would cross a network in the clear.
    pub fn bares_key(&self) -> bool {
        let host = self.base.strip_prefix("http://").unwrap_or_default();
        let is_own = ["localhost", "127.", "[::1]"].iter().any(|own| host.starts_with(own));
        self.key.is_some() && !host.is_empty() && !is_own
    }

    pub(super) fn send(&self, request: &Request) -> Result<Received, NotSent> {
        let url = format!("{}/{}", self.base, request.path);
        let mut post = self.agent.post(&url).header("content-type", "application/json");
        if let Some(Key(key)) = &self.key {
            post = post.header("authorization", format!("Bearer {key}"));
        }
        let reply = post.send(request.body.as_str()).map_err(|error| self.not_sent(&error))?;
        let status = reply.status().as_u16();
        let header = |name: &str| reply.headers().get(name).and_then(|value| value.to_str().ok());
        let pause = header("retry-after").and_then(|text| retry_after(text, SystemTime::now()));
        let cost = header("x-litellm-response-cost").and_then(|text| text.parse().ok());
        let cost = cost.filter(|cost: &f64| cost.is_finite() && *cost >= 0.0);
        let reader = reply.into_body().into_with_config().limit(MAX_REPLY_BYTES);
        let bytes = reader.read_to_vec().map_err(|error| self.not_sent(&error))?;
        let body = String::from_utf8_lossy(&bytes).into_owned();
        let body = self.hidden(body);
        Ok(Received { status, body, retry_after: pause, cost })
    }

    fn not_sent(&self, error: &ureq::Error) -> NotSent {
        use io::ErrorKind;
        let base = &self.base;
        let (message, is_unreachable, is_passing) = match error {
            ureq::Error::Timeout(ureq::Timeout::Connect | ureq::Timeout::Resolve) => {
                (format!("`{base}` cannot be reached in time"), true, true)
            }
            ureq::Error::Timeout(_) => {
                let seconds = self.timeout.as_secs_f64();
                (format!("no whole answer within {seconds} s (`--timeout`)"), false, true)
            }
            ureq::Error::Io(error) if error.kind() == ErrorKind::ConnectionRefused => {
                (format!("nobody answers at `{base}`: {error}"), true, true)
            }
            ureq::Error::HostNotFound | ureq::Error::ConnectionFailed => {
                (format!("`{base}` cannot be reached: {error}"), true, true)
            }
            ureq::Error::BodyExceedsLimit(_) => {
                (format!("the reply is longer than {MAX_REPLY_BYTES} bytes"), false, false)
            }
            ureq::Error::Io(_) | ureq::Error::Protocol(_) => {
                (format!("the connection was cut: {error}"), false, true)
            }
            error => (format!("`{base}` cannot be asked: {error}"), true, false),
        };
        NotSent { message: self.hidden(message), is_unreachable, is_passing }
    }

    fn hidden(&self, text: String) -> String {
        match &self.key {
            Some(key) => key.hidden(text),
            None => text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(base: &str) -> Result<Endpoint, String> {
        let key = Some(Key("sk-1234".to_owned()));
        let made = Endpoint::new(base, key, Duration::from_secs(1), "MY_KEY");
        made.map_err(|error| error.to_string())
    }

    #[test]
    fn an_address_is_judged_before_anything_is_sent() {
        for (given, base) in [
            ("http://localhost:4000/v1/", "http://localhost:4000/v1"),
            ("https://a.example/v1/chat/completions", "https://a.example/v1"),
        ] {
            assert_eq!(endpoint(given).unwrap().base(), base);
        }
        for wrong in ["", "localhost:4000", "ftp://a.example", "http://", "http://a.example/?k=1"] {
            let message = endpoint(wrong).err().unwrap_or_default();
            assert!(message.contains("is no address of an endpoint"), "{wrong}: {message}");
        }
        let message = endpoint("https://me:sk-1234@a.example").err().unwrap_or_default();
        assert!(message.contains("belongs in MY_KEY") && !message.contains("sk-"), "{message}");
    }

    #[test]
    fn a_key_is_not_shown() {
        let key = Key("sk-12345".to_owned());
        assert_eq!(format!("{key:?}"), "Key");
        assert_eq!(key.hidden("wrong key: sk-12345.".to_owned()), "wrong key: [key].");
        assert_eq!(Key("none".to_owned()).hidden("none at all".to_owned()), "none at all");
        assert!(endpoint("http://a.example").unwrap().bares_key());
        assert!(!endpoint("http://127.0.0.1:80").unwrap().bares_key());
        assert!(!endpoint("https://a.example").unwrap().bares_key());
    }
}
