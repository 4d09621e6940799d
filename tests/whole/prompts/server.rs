//! An endpoint on loopback that answers each request with the next of its replies.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use loupe_tests::root;

/// What the server does with a request.
#[derive(Clone, Debug)]
pub enum Act {
    /// Status line, further header lines and a body.
    Answer { status: u16, head: String, body: String },
    /// Says nothing until the other side has given up.
    Silence,
    /// Promises more bytes than it sends, and closes.
    Cut,
}

/// A reply that stands in a file beside the plugin's own tests.
pub fn reply(name: &str) -> Act {
    let path = root().join(format!("plugins/prompts/tests/replies/{name}.txt"));
    let text = std::fs::read_to_string(path).unwrap();
    let (status, body) = text.split_once('\n').unwrap();
    Act::Answer { status: status.parse().unwrap(), head: String::new(), body: body.to_owned() }
}

/// The same with header lines of its own, each with its line end.
pub fn reply_with(name: &str, head: &str) -> Act {
    match reply(name) {
        Act::Answer { status, body, .. } => Act::Answer { status, head: head.to_owned(), body },
        other => other,
    }
}

/// A request, and what stood in the cache when it came.
#[derive(Clone, Debug)]
pub struct Request {
    pub head: String,
    pub body: String,
    pub cache: Option<String>,
}

pub struct Server {
    port: u16,
    ended: Arc<AtomicBool>,
    requests: Arc<Mutex<Vec<Request>>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// After its last reply it answers with status 500.
    pub fn start(cache: &Path, acts: Vec<Act>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (ended, requests) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::default()));
        let thread = {
            let (ended, requests) = (Arc::clone(&ended), Arc::clone(&requests));
            let cache = cache.to_owned();
            std::thread::spawn(move || serve(&listener, &cache, acts, &ended, &requests))
        };
        Server { port, ended, requests, thread: Some(thread) }
    }

    /// A port at which nobody listens.
    pub fn nobody() -> Server {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let ended = Arc::new(AtomicBool::new(true));
        Server { port, ended, requests: Arc::default(), thread: None }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/v1", self.port)
    }

    /// Stops it; the requests that came.
    pub fn end(mut self) -> Vec<Request> {
        self.stop();
        std::mem::take(&mut *self.requests.lock().unwrap())
    }

    fn stop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            // Wakes it where it waits for the next.
            let _ = TcpStream::connect(("127.0.0.1", self.port));
            let _ = thread.join();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

fn serve(
    listener: &TcpListener,
    cache: &PathBuf,
    acts: Vec<Act>,
    ended: &AtomicBool,
    requests: &Mutex<Vec<Request>>,
) {
    let mut acts = acts.into_iter();
    for stream in listener.incoming() {
        let Ok(mut stream) = stream else { continue };
        if ended.load(Ordering::SeqCst) {
            return;
        }
        let Some((head, body)) = read(&mut stream) else { continue };
        let cache = std::fs::read_to_string(cache).ok();
        requests.lock().unwrap().push(Request { head, body, cache });
        let none = Act::Answer { status: 500, head: String::new(), body: "no more".to_owned() };
        let text = match acts.next().unwrap_or(none) {
            Act::Answer { status, head, body } => {
                let length = body.len();
                format!(
                    "HTTP/1.1 {status} X\r\n{head}content-type: application/json\r\n\
                     content-length: {length}\r\nconnection: close\r\n\r\n{body}"
                )
            }
            Act::Cut => "HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n{\"choices\": [{".to_owned(),
            Act::Silence => {
                // Until the other side closes: no data follows its request.
                let _ = stream.set_read_timeout(Some(Duration::from_secs(60)));
                let _ = stream.read(&mut [0]);
                continue;
            }
        };
        // A client that went away is what some tests are about.
        let _ = stream.write_all(text.as_bytes());
    }
}

/// Head and body of a request.
fn read(stream: &mut TcpStream) -> Option<(String, String)> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                line.to_lowercase().strip_prefix("content-length:")?.trim().parse::<usize>().ok()
            });
            if body.len() >= length.unwrap_or(0) {
                return Some((format!("{head}\r\n"), body.to_owned()));
            }
        }
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return None,
            Ok(n_bytes) => bytes.extend_from_slice(&buffer[..n_bytes]),
        }
    }
}
