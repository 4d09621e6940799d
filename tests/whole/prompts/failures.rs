//! Endpoints that refuse, stall, lie and break off. Each test ends with a look at the cache.

use std::time::Instant;

use loupe_tests::{Ended, World};

use super::server::{Act, Server, reply, reply_with};
use super::{cache, generate, world};

/// Class `wire_mesh` meets `acts` without a second try, `woven` a good reply: what is said.
fn one_fails(acts: Act, more: &[&str]) -> String {
    let world = world();
    let server = Server::start(&cache(&world), vec![acts, reply("good")]);
    let flags: Vec<&str> = ["--retries", "0"].iter().chain(more).copied().collect();
    let ended = generate(&world, &server, &flags);
    assert_eq!(ended.code, Some(4), "{ended:?}");
    assert!(ended.stderr.contains("1 filled, 1 failed; 2 requests"), "{ended:?}");
    assert!(ended.stdout.starts_with("woven: 3 normal, 4 anomalous"), "{ended:?}");
    only_woven(&world);
    // The next time, only what is missing is asked for.
    let server = Server::start(&cache(&world), vec![reply("good")]);
    let again = generate(&world, &server, &[]);
    assert_eq!(again.code, Some(0), "{again:?}");
    let requests = server.end();
    assert!(requests.len() == 1 && requests[0].body.contains("wire mesh"), "{requests:?}");
    let error = ended.stderr.lines().find(|line| line.starts_with("error: ")).unwrap();
    error.to_owned()
}

fn only_woven(world: &World) {
    let text = std::fs::read_to_string(cache(world)).unwrap();
    assert!(text.contains("class = \"woven\"") && !text.contains("wire mesh"), "{text}");
}

#[test]
fn json_that_breaks_off() {
    let said = one_fails(reply("malformed"), &[]);
    assert!(
        said.starts_with("error: wire_mesh: the answer is not the JSON that was asked for: EOF"),
        "{said}"
    );
}

#[test]
fn a_refusal() {
    let said = one_fails(reply("refusal"), &[]);
    assert_eq!(said, "error: wire_mesh: the model refused: I can't help with that request.");
}

#[test]
fn an_answer_that_was_cut_off_at_the_limit_of_tokens() {
    let said = one_fails(reply("cut-off"), &[]);
    assert!(said.contains("cut off at the endpoint's limit of tokens"), "{said}");
}

#[test]
fn sentences_of_no_use() {
    let Act::Answer { status, head, body } = reply("empty") else { panic!() };
    let body = body.replace("bottle", "wire mesh");
    let said = one_fails(Act::Answer { status, head, body }, &[]);
    assert!(said.contains("the replies leave no anomalous sentence about `wire mesh`"), "{said}");
}

#[test]
fn silence() {
    let begun = Instant::now();
    let said = one_fails(Act::Silence, &["--timeout", "2"]);
    assert_eq!(said, "error: wire_mesh: no whole answer within 2 s (`--timeout`)");
    assert!(begun.elapsed().as_secs_f64() >= 2.0);
}

#[test]
fn a_connection_that_is_cut() {
    let said = one_fails(Act::Cut, &[]);
    assert!(said.starts_with("error: wire_mesh: the connection was cut: "), "{said}");
}

#[test]
fn a_redirect_is_not_followed() {
    let to = reply_with("server", "location: http://127.0.0.1:9/elsewhere\r\n");
    let Act::Answer { head, body, .. } = to else { panic!() };
    let said = one_fails(Act::Answer { status: 307, head, body }, &[]);
    assert!(said.contains("the endpoint answered with status 307"), "{said}");
}

fn one(acts: Vec<Act>, more: &[&str]) -> (World, Ended, usize, f64) {
    let world = world();
    let server = Server::start(&cache(&world), acts);
    let begun = Instant::now();
    let flags: Vec<&str> = ["--class", "woven"].iter().chain(more).copied().collect();
    let ended = generate(&world, &server, &flags);
    (world, ended, server.end().len(), begun.elapsed().as_secs_f64())
}

#[test]
fn a_rate_limit_is_waited_for_as_long_as_it_says() {
    let limit = reply_with("rate-limit", "retry-after: 2\r\n");
    let (world, ended, n_requests, seconds) = one(vec![limit, reply("good")], &[]);
    assert_eq!((ended.code, n_requests), (Some(0), 2), "{ended:?}");
    let note = "note: woven: the endpoint answered with status 429: Rate limit reached for \
                requests; again in 2.0 s\n1 filled; 2 requests, 312 + 171 tokens\n";
    assert_eq!(ended.stderr, note);
    assert!(seconds >= 2.0, "{seconds}");
    only_woven(&world);
    let limit = reply_with("rate-limit", "retry-after: 86400\r\n");
    let (world, ended, n_requests, _) = one(vec![limit], &[]);
    assert_eq!((ended.code, n_requests), (Some(4), 1));
    assert!(ended.stderr.contains("asks to wait 86400 s, and 300 s is the most"), "{ended:?}");
    assert!(!cache(&world).exists());
}

#[test]
fn what_may_pass_is_tried_again_and_what_was_wasted_is_counted() {
    let acts = vec![reply("malformed"), Act::Cut, reply("server"), reply("good")];
    let (world, ended, n_requests, _) = one(acts, &[]);
    assert_eq!((ended.code, n_requests), (Some(0), 4), "{ended:?}");
    assert!(ended.stderr.ends_with("1 filled; 4 requests, 624 + 342 tokens\n"), "{ended:?}");
    only_woven(&world);
    let (_, ended, n_requests, _) = one(vec![reply("server"); 9], &["--retries", "2"]);
    assert_eq!((ended.code, n_requests), (Some(4), 3), "{ended:?}");
    assert!(ended.stderr.contains("status 503: upstream connect error"), "{ended:?}");
    assert!(ended.stderr.contains("(3 tries)"), "{ended:?}");
}

/// What goes wrong for every class ends the command at once; a key is never shown.
#[test]
fn a_wrong_key_and_nobody_there() {
    let world = world();
    let body = r#"{"error": {"message": "Incorrect API key provided: sk-secret-1234"}}"#;
    let wrong = Act::Answer { status: 401, head: String::new(), body: body.to_owned() };
    let server = Server::start(&cache(&world), vec![wrong]);
    let ended = generate(&world, &server, &["--format", "json", "-v"]);
    assert_eq!((ended.code, server.end().len()), (Some(4), 1), "{ended:?}");
    assert!(ended.stderr.contains("Incorrect API key provided: [key]"), "{ended:?}");
    assert!(ended.stderr.contains("0 filled, 1 failed, 1 not asked; 1 request"), "{ended:?}");
    assert!(!format!("{ended:?}").contains("sk-secret"), "{ended:?}");
    let report: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(report["jobs"][0]["state"], "failed");
    assert_eq!(report["jobs"][1]["state"], "not-asked");
    let ended = generate(&world, &Server::nobody(), &["--retries", "1"]);
    assert_eq!(ended.code, Some(4), "{ended:?}");
    assert!(ended.stderr.contains("error: wire_mesh: nobody answers at `URL`: "), "{ended:?}");
    assert!(ended.stderr.contains("(2 tries)\n0 filled, 1 failed, 1 not asked"), "{ended:?}");
    assert!(!cache(&world).exists());
}

/// A file that cannot be written must not cost a request for each class.
#[test]
fn a_cache_that_cannot_be_used() {
    let world = world();
    world.write("asked.toml", "loupe_prompts = 1\n[[entry]]\nclass = 3\n");
    let server = Server::start(&cache(&world), vec![reply("good")]);
    let ended = generate(&world, &server, &[]);
    assert_eq!((ended.code, server.end().len()), (Some(3), 0), "{ended:?}");
    assert!(ended.stderr.contains("line 3: invalid type: integer `3`"), "{ended:?}");
    let text = std::fs::read_to_string(cache(&world)).unwrap();
    assert!(text.ends_with("class = 3\n"), "{text}");
}
