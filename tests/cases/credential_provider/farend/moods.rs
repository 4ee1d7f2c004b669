//! What every far end can do, whatever it serves.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use serde_json::json;
use tripod_tests::apiserver::Authority;
use tripod_tests::farend::client::{ask, ask_tls};
use tripod_tests::farend::{Collector, Mood, NOT_JSON, Request, Server, WRONG_JSON};

use super::answer;

#[test]
fn requests_are_kept_as_they_came_and_counted() {
    let server = Server::start(Collector);
    let request = Request::form("/oauth2/exchange?a=b%20c", &[("grant type", "a+b&c="), ("twice", "1")]);
    assert_eq!(answer(&server, &request).document()["token"], "x");
    answer(&server, &Request::json("/v1", &json!({"a": 1})).with_basic("robot$a", "p:w"));
    let seen: Vec<_> = server.seen().into_iter().map(|seen| seen.request).collect();
    assert_eq!(seen[0].parameter("a").as_deref(), Some("b c"));
    assert_eq!(seen[0].field("grant type").as_deref(), Some("a+b&c="));
    assert!(seen[0].field("absent").is_none() && seen[0].document().is_null());
    assert_eq!(seen[1].document(), json!({"a": 1}));
    assert_eq!(seen[1].basic(), Some(("robot$a".into(), "p:w".into())));
    assert_eq!((server.count("POST /"), server.count("POST /v1"), server.count("GET /")), (2, 1, 0));
    server.forget();
    assert!(server.seen().is_empty());
}

#[test]
fn a_mood_is_for_all_or_for_some_or_for_a_few() {
    let server = Server::start(Collector);
    let status = |path: &str| answer(&server, &Request::get(path)).status;
    server.mood_of("GET /b", Mood::Failing(500));
    server.mood_for_next(2, &Mood::Throttled);
    assert_eq!([status("/a"), status("/b"), status("/b"), status("/a")], [429, 429, 500, 200]);
    server.mood(Mood::Denied);
    assert_eq!([status("/a"), status("/b")], [403, 500]);
    server.mood(Mood::Well);
    server.mood_of("GET /b", Mood::Well);
    assert_eq!([status("/a"), status("/b")], [200, 200]);
}

#[test]
fn a_bad_mood_shows() {
    let server = Server::start(Collector);
    let get = Request::get("/path?q=1");
    let error = |mood| {
        server.mood_for_next(1, &mood);
        ask(&server, &get).expect_err("no answer").kind()
    };
    assert_eq!(error(Mood::HungUp), ErrorKind::InvalidData);
    assert_eq!(error(Mood::Truncated), ErrorKind::UnexpectedEof);
    assert_eq!(error(Mood::Oversized), ErrorKind::InvalidData);
    for text in [NOT_JSON, WRONG_JSON] {
        server.mood_for_next(1, &Mood::Garbage(text));
        assert_eq!(answer(&server, &get).body_text(), text);
    }
    server.mood_for_next(1, &Mood::Redirecting("http://127.0.0.2:1".into()));
    let moved = answer(&server, &get);
    assert_eq!((moved.status, moved.value("location")), (307, Some("http://127.0.0.2:1/path?q=1")));
    let started = Instant::now();
    server.mood_for_next(1, &Mood::Slow(Duration::from_millis(1)));
    assert_eq!(answer(&server, &get).status, 200);
    assert!(started.elapsed() > Duration::from_millis(100), "a hundred bytes, each after a pause");
}

#[test]
fn an_end_without_an_answer_comes_with_the_servers_end() {
    let server = Server::start(Collector);
    server.mood(Mood::Silent);
    let address = server.address();
    let waiting = std::thread::spawn(move || {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        std::io::Write::write_all(&mut stream, b"GET / HTTP/1.1\r\n\r\n").unwrap();
        std::io::Read::read(&mut stream, &mut [0]).unwrap()
    });
    tripod_tests::eventually("the request is there", || server.count("GET /") == 1);
    assert!(!waiting.is_finished());
    // Others are answered meanwhile.
    server.mood(Mood::Well);
    assert_eq!(answer(&server, &Request::get("/")).status, 200);
    drop(server);
    assert_eq!(waiting.join().unwrap(), 0);
    assert!(std::net::TcpStream::connect(address).is_err());
}

#[test]
fn a_connection_serves_several_requests() {
    use std::io::{Read, Write};
    let server = Server::start(Collector);
    let mut stream = std::net::TcpStream::connect(server.address()).unwrap();
    stream.write_all(b"GET /1 HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\nConnection: close\r\n\r\n").unwrap();
    let mut answers = String::new();
    stream.read_to_string(&mut answers).unwrap();
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 2);
}

#[test]
fn https_is_for_those_who_trust_its_authority() {
    let authority = Authority::default();
    let server = Server::start_tls(Collector, &authority, &["api.ecr.eu-west-1.amazonaws.com", "127.0.0.1"]);
    let get = Request::get("/");
    for name in ["api.ecr.eu-west-1.amazonaws.com", "127.0.0.1"] {
        assert_eq!(ask_tls(&server, &authority, name, &get).unwrap().status, 200);
    }
    assert!(ask_tls(&server, &authority, "elsewhere.example.com", &get).is_err());
    assert!(ask_tls(&server, &Authority::default(), "127.0.0.1", &get).is_err());
    assert!(server.url().starts_with("https://127.0.0.1:"));
    assert_eq!(server.count("GET /"), 2);
}
