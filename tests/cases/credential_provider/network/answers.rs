//! Answers, and what is no answer.

use std::io::Write;
use std::time::{Duration, Instant};

use tripod_credential_provider::http::{Call, Network, Url, form};
use tripod_credential_provider::secret::Secret;

use super::far::Far;
use super::{LONG, SECRET, SHORT, client, complaint, get};

const OK: &str = "HTTP/1.1 200 OK\r\nX-Kind: Token\r\nContent-Length: 5\r\nConnection: close\r\n\r\ntoken";

fn failing(answer: &'static str) -> String {
    let far = Far::answering(&[answer]);
    complaint(&client(&Network::default()), get(&far.url()))
}

#[test]
fn what_is_sent_and_what_comes_back() {
    let far = Far::answering(&[OK]);
    let url = Url::parse(&far.url()).expect("a URL").join("/oauth2/token?a=b").expect("a path");
    let body = form(&[("grant_type", "refresh_token"), ("refresh_token", "a/b")]);
    let call = Call::post("test-step", url, "application/x-www-form-urlencoded", body)
        .secret("X-Token", Secret::new(SECRET.into()));
    let reply = client(&Network::default()).call(call).expect("an answer");
    assert_eq!(
        (reply.status, reply.header("x-kind"), reply.body.expose()),
        (200, Some("Token"), &b"token"[..])
    );
    let request = &far.requests()[0];
    assert!(request.starts_with("POST /oauth2/token?a=b HTTP/1.1\r\n"), "{request}");
    assert!(request.to_lowercase().contains(&format!("x-token: {SECRET}\r\n")), "{request}");
    assert!(request.ends_with("\r\n\r\ngrant_type=refresh_token&refresh_token=a%2Fb"), "{request}");
}

#[test]
fn an_empty_body_has_a_length() {
    let far = Far::answering(&[OK]);
    let call = Call::put("test-step", Url::parse(&far.url()).expect("a URL")).metadata();
    client(&Network::default()).call(call).expect("an answer");
    assert!(far.requests()[0].to_lowercase().contains("content-length: 0\r\n"), "{:?}", far.requests());
}

#[test]
fn a_connection_is_used_again() {
    let far = Far::serving(|stream, _| {
        for _ in 0..2 {
            super::far::request(stream);
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").expect("an answer sent");
        }
    });
    let client = client(&Network::default());
    for _ in 0..2 {
        client.call(get(&far.url())).expect("an answer");
    }
}

#[test]
fn silence_ends_with_the_steps_patience() {
    let far = Far::reading(|_, _| std::thread::sleep(LONG));
    let start = Instant::now();
    let line = complaint(&client(&Network::default()), get(&far.url()).patience(SHORT).hint("hop limit?"));
    let peer = far.address;
    assert!(
        line.contains(&format!("err=timeout while=answer peer={peer} after=0.7s hint=hop limit?")),
        "{line}"
    );
    assert!(start.elapsed() < LONG / 2);
}

#[test]
fn an_attempt_that_hangs_is_given_up_for_another() {
    let mut hanging = Vec::new();
    let far = Far::reading(move |stream, number| match number {
        0 => hanging.push(stream.try_clone()),
        _ => stream.write_all(OK.as_bytes()).expect("an answer sent"),
    });
    client(&Network::default()).call(get(&far.url()).patience(SHORT).tries(2)).expect("an answer");
    assert_eq!(far.requests().len(), 2);
}

#[test]
fn a_slow_drip_does_not_start_the_clock_anew() {
    for preamble in ["HTTP/1.1 200 OK\r\nX-Slow: ", "HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n"] {
        let far = Far::reading(move |stream, _| {
            let _gone = stream.write_all(preamble.as_bytes());
            while stream.write_all(b"H").is_ok() {
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        let start = Instant::now();
        let line = complaint(&client(&Network::default()), get(&far.url()).patience(SHORT));
        assert!(line.contains("err=timeout while=answer"), "{line}");
        assert!(start.elapsed() < LONG / 2);
    }
}

#[test]
fn an_answer_is_bounded() {
    let endless = |head: &'static str| {
        Far::reading(move |stream, _| {
            let _gone = stream.write_all(head.as_bytes());
            while stream.write_all(&[b'x'; 4096]).is_ok() {}
        })
    };
    for (head, part) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n", "part=body limit=1000"),
        ("HTTP/1.1 200 OK\r\n\r\n", "part=body limit=1000"),
        ("HTTP/1.1 200 OK\r\nX-Endless: ", "part=header limit="),
    ] {
        let far = endless(head);
        let line = complaint(&client(&Network::default()), get(&far.url()).largest(1000));
        assert!(line.contains("err=too-large") && line.contains(part), "{line}");
    }
    let far = Far::answering(&[OK]);
    client(&Network::default()).call(get(&far.url()).largest(5)).expect("exactly as much as allowed");
}

#[test]
fn what_is_no_http() {
    let line = failing("SSH-2.0-OpenSSH_9.2 hunter2-correct-horse\r\n\r\n");
    assert!(line.contains("err=garbage") && line.contains("HTTP/1.1"), "{line}");
}

#[test]
fn an_answer_cut_short() {
    for answer in ["", "HTTP/1.1 20", "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nshort"] {
        let line = failing(answer);
        assert!(line.contains("err=closed peer=127.0.0.1:"), "{answer:?}: {line}");
    }
}

#[test]
fn a_redirect_leads_nowhere() {
    let target = Far::answering(&[OK]);
    let answer =
        format!("HTTP/1.1 302 Found\r\nLocation: {}/{SECRET}\r\nContent-Length: 0\r\n\r\n", target.url());
    let far = Far::answering(&[&answer]);
    let line = complaint(&client(&Network::default()), get(&far.url()).expect(|_| true).tries(3));
    assert!(line.contains("err=redirect status=302") && line.contains(&target.address.to_string()), "{line}");
    assert_eq!((far.requests().len(), target.requests().len()), (1, 0));
}

#[test]
fn a_busy_far_end_says_when_to_come_back() {
    let busy = "HTTP/1.1 429 Too Many\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let far = Far::answering(&[busy, OK]);
    let start = Instant::now();
    client(&Network::default()).call(get(&far.url()).tries(2)).expect("an answer");
    assert!(start.elapsed() >= Duration::from_secs(1));
    assert_eq!(far.requests().len(), 2);
}

#[test]
fn a_pause_beyond_the_deadline_is_not_waited_for() {
    let far = Far::answering(&["HTTP/1.1 429 Too Many\r\nRetry-After: 3600\r\nContent-Length: 0\r\n\r\n"]);
    let line = complaint(&client(&Network::default()), get(&far.url()).tries(5));
    assert!(line.contains("err=status status=429"), "{line}");
    assert_eq!(far.requests().len(), 1);
}

#[test]
fn a_broken_far_end_is_asked_as_often_as_the_call_says() {
    let answer = "HTTP/1.1 503 Unavailable\r\nContent-Length: 6\r\nConnection: close\r\n\r\nsecret";
    for tries in [1, 3] {
        let far = Far::answering(&[answer]);
        let line = complaint(&client(&Network::default()), get(&far.url()).tries(tries));
        assert!(line.ends_with(&format!("err=status status=503 peer={}", far.address)), "{line}");
        assert_eq!(far.requests().len(), usize::try_from(tries).expect("a small number"));
    }
}

#[test]
fn a_refusal_shows_its_code_and_nothing_else() {
    let explain = |body: &[u8]| Some(String::from_utf8_lossy(body).into_owned());
    let answer = |body: &str| {
        format!("HTTP/1.1 400 Bad\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
    };
    let far = Far::answering(&[&answer("ThrottlingException"), &answer("no, hunter2-correct-horse!")]);
    let client = client(&Network::default());
    let retry = |status, body: &[u8]| status == 400 && body == b"ThrottlingException";
    let line = complaint(&client, get(&far.url()).explain(explain));
    assert!(line.contains("err=status status=400 code=ThrottlingException peer=127."), "{line}");
    let line = complaint(&client, get(&far.url()).explain(explain));
    assert!(line.contains("err=status status=400 peer=127."), "{line}");
    let far = Far::answering(&[&answer("ThrottlingException"), OK]);
    client.call(get(&far.url()).retry(retry).tries(2)).expect("the second attempt");
}

#[test]
fn a_challenge_is_an_answer_to_who_expects_it() {
    let far = Far::answering(&[
        "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer realm=\"x\"\r\nContent-Length: 0\r\n\r\n",
    ]);
    let call = get(&far.url()).expect(|status| status == 401);
    let reply = client(&Network::default()).call(call).expect("the challenge");
    assert_eq!((reply.status, reply.header("www-authenticate")), (401, Some("Bearer realm=\"x\"")));
}
