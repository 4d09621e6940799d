use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread::JoinHandle;

use super::*;

struct Sandbox {
    _folder: tempfile::TempDir,
    file: PathBuf,
    registry: Registry,
}

fn sandbox(content: &[u8]) -> Sandbox {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mine.pt");
    fs::write(&file, content).unwrap();
    let registry = Registry::open(folder.path().join("weights"));
    Sandbox { _folder: folder, file, registry }
}

/// Answers one request with a head and a body.
fn serve(head: &'static str, body: &'static [u8]) -> (String, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/mirror/", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 4096];
        let n_bytes = stream.read(&mut request).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body).unwrap();
        let text = String::from_utf8_lossy(&request[..n_bytes]).into_owned();
        text.lines().next().unwrap().to_owned()
    });
    (address, server)
}

#[test]
fn a_pinned_file_is_found_by_its_name_in_either_spelling() {
    let sandbox = sandbox(b"abc");
    let (pinned, before) = sandbox.registry.add(&sandbox.file, "Mine/v1_a", false).unwrap();
    assert!(!before);
    assert_eq!(
        (pinned.name.as_str(), pinned.file.as_str(), pinned.bytes),
        ("Mine/v1-a", "v1-a.pt", 3)
    );
    assert_eq!(pinned.sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_eq!(pinned.blake3, "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85");
    let path = sandbox.registry.dir().join("Mine/v1-a.pt");
    assert_eq!(fs::read(&path).unwrap(), b"abc");
    for name in ["Mine/v1_a", "Mine/v1-a"] {
        assert_eq!(sandbox.registry.named(name), Some(NamedFile::Here(path.clone())));
    }
    assert_eq!(sandbox.registry.list().unwrap(), std::slice::from_ref(&pinned));
    assert_eq!(sandbox.registry.add(&sandbox.file, "Mine/v1_a", false).unwrap(), (pinned, true));
}

#[test]
fn another_file_takes_a_name_only_when_told_to() {
    let sandbox = sandbox(b"abc");
    let other = sandbox.file.with_file_name("other.bin");
    fs::write(&other, b"xyz").unwrap();
    sandbox.registry.add(&sandbox.file, "mine", false).unwrap();
    let error = sandbox.registry.add(&other, "mine", false).unwrap_err().to_string();
    assert!(error.contains("`--replace`"), "{error}");
    let (pinned, _) = sandbox.registry.add(&other, "mine", true).unwrap();
    assert_eq!(pinned.file, "mine.bin");
    assert_eq!(sandbox.registry.verify(&pinned).unwrap(), Verdict::Good);
}

#[test]
fn verify_sees_changed_and_missing_files() {
    let sandbox = sandbox(b"abc");
    let (pinned, _) = sandbox.registry.add(&sandbox.file, "mine", false).unwrap();
    let path = sandbox.registry.path(&pinned);
    fs::write(&path, b"abd").unwrap();
    let got = blake3::hash(b"abd").to_hex().to_string();
    assert_eq!(sandbox.registry.verify(&pinned).unwrap(), Verdict::Changed { got });
    fs::remove_file(&path).unwrap();
    assert_eq!(sandbox.registry.verify(&pinned).unwrap(), Verdict::Missing);
    assert!(matches!(sandbox.registry.named("mine"), Some(NamedFile::Absent(_))));
}

#[test]
fn a_file_that_is_not_the_public_one_is_refused() {
    let sandbox = sandbox(b"abc");
    for name in ["ViT-L-14-336/openai", "ViT-B-16-plus-240/laion400m_e31"] {
        let error = sandbox.registry.add(&sandbox.file, name, false).unwrap_err();
        assert!(matches!(error, WeightsError::NotIt { .. }), "{error}");
    }
    assert!(sandbox.registry.list().unwrap().is_empty());
}

#[test]
fn names_that_leave_the_folder_are_refused() {
    let sandbox = sandbox(b"abc");
    for name in ["", "/etc/x", "../x", "a//b", "a/.b", "a/b/c/d", "a b"] {
        let error = sandbox.registry.add(&sandbox.file, name, false).unwrap_err();
        assert!(matches!(error, WeightsError::Name { .. }), "{name}: {error}");
        assert_eq!(sandbox.registry.named(name), None);
    }
}

#[test]
fn a_damaged_record_is_named() {
    let sandbox = sandbox(b"abc");
    sandbox.registry.add(&sandbox.file, "mine", false).unwrap();
    fs::write(sandbox.registry.dir().join("mine.json"), b"{").unwrap();
    let error = sandbox.registry.list().unwrap_err().to_string();
    assert!(error.contains("mine.json") && error.contains("add the file again"), "{error}");
    assert!(sandbox.registry.add(&sandbox.file, "mine", true).is_ok());
}

#[test]
fn the_table_is_sorted_and_its_digests_are_whole_short_or_absent() {
    assert!(KNOWN.is_sorted_by_key(|known| (known.model, known.tag)));
    for known in &KNOWN {
        assert!([0, 8, 64].contains(&known.sha256.len()), "{}", known.name());
        assert!(known.sha256.chars().all(|c| c.is_ascii_hexdigit()), "{}", known.name());
        assert!(known.url().contains(known.sha256), "{}", known.url());
    }
    let openai = find("ViT-L-14-336/openai").unwrap();
    assert!(openai.is_certain() && openai.url().ends_with("f02/ViT-L-14-336px.pt"));
    assert_eq!(find("ViT-B-16-plus-240/laion400m_e31").unwrap().sha256, "8fb26589");
}

#[test]
fn public_weights_that_are_not_here_say_how_to_get_them() {
    let sandbox = sandbox(b"");
    let Some(NamedFile::Absent(hint)) = sandbox.registry.named("ViT-B-32/openai") else { panic!() };
    assert!(hint.contains("loupe weights fetch ViT-B-32/openai"), "{hint}");
    assert_eq!(sandbox.registry.named("openai"), None);
}

#[test]
fn fetch_downloads_compares_and_pins() {
    let sandbox = sandbox(b"");
    let (mirror, server) = serve("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", b"abc");
    let mut told = Vec::new();
    let mut progress = |bytes, whole| told.push((bytes, whole));
    let name = "ViT-B-16-quickgelu/metaclip_400m";
    let (pinned, before) = sandbox.registry.fetch(name, Some(&mirror), &mut progress).unwrap();
    assert_eq!(server.join().unwrap(), "GET /mirror/b16_400m.pt HTTP/1.1");
    assert_eq!((before, told.last()), (false, Some(&(3, Some(3)))));
    assert_eq!(pinned.name, "ViT-B-16-quickgelu/metaclip-400m");
    assert_eq!(fs::read(sandbox.registry.path(&pinned)).unwrap(), b"abc");
    // The second time nobody serves.
    assert!(sandbox.registry.fetch(name, Some(&mirror), &mut |_, _| ()).unwrap().1);
}

#[test]
fn a_fetched_file_that_is_wrong_or_cut_off_leaves_nothing() {
    let cases = [
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n",
            "ViT-B-32/openai",
            "is not `ViT-B-32/openai`",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n",
            "ViT-B-16-quickgelu/metaclip-400m",
            "cannot fetch",
        ),
        ("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "ViT-B-32/openai", "404"),
    ];
    for (head, name, want) in cases {
        let sandbox = sandbox(b"");
        let (mirror, server) = serve(head, b"abc");
        let error = sandbox.registry.fetch(name, Some(&mirror), &mut |_, _| ()).unwrap_err();
        server.join().unwrap();
        assert!(error.to_string().contains(want), "{error}");
        let folder = sandbox.registry.dir().join(name.split('/').next().unwrap());
        assert_eq!(fs::read_dir(folder).unwrap().count(), 0);
    }
}

#[test]
fn without_a_network_the_error_says_what_to_do_instead() {
    let sandbox = sandbox(b"");
    // A port that was free a moment ago.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mirror = format!("http://{address}");
    let fetched = sandbox.registry.fetch("ViT-B-32/openai", Some(&mirror), &mut |_, _| ());
    let error = fetched.unwrap_err().to_string();
    assert!(error.contains("loupe weights add FILE --as ViT-B-32/openai"), "{error}");
    let error = sandbox.registry.fetch("ViT-B-32/openia", None, &mut |_, _| ()).unwrap_err();
    assert!(error.to_string().contains("did you mean `ViT-B-32/openai`?"), "{error}");
}
