use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Auths, AuthsError, Selected};
use crate::endpoint::Endpoint;
use crate::error::chain;
use crate::image::ImageRef;
use crate::provider::{Coverage, answer_key};

fn read(document: &Value) -> Auths {
    Auths::parse(Path::new("/f.json"), document.to_string().as_bytes()).unwrap()
}

fn select(document: &Value, image: &str) -> Result<Selected, AuthsError> {
    read(document).select(&ImageRef::parse(image).unwrap())
}

/// User, password and key of the answer, or the error's text.
fn answer(document: &Value, image: &str) -> Result<[String; 3], String> {
    let Selected { username, password, coverage, .. } =
        select(document, image).map_err(|error| chain(&error))?;
    let key = key(&coverage, &ImageRef::parse(image).unwrap());
    Ok([username.expose().to_owned(), password.expose().to_owned(), key])
}

fn key(coverage: &Coverage, image: &ImageRef) -> String {
    match coverage {
        Coverage::Registry => answer_key(image, ""),
        Coverage::Path(path) => answer_key(image, path),
    }
}

fn login(user: &str, password: &str) -> Value {
    json!({"auth": BASE64_STANDARD.encode(format!("{user}:{password}"))})
}

#[test]
fn the_most_specific_key_answers_for_the_asked_registry() {
    let document = json!({"auths": {
        "*.example.com": login("glob", "1"),
        "https://registry.example.com/v2/": login("host", "2"),
        "registry.example.com/team/": login("team", "3"),
        "registry.example.com:5000": login("port", "4"),
    }});
    for (image, user, key) in [
        ("registry.example.com/app", "host", "registry.example.com"),
        ("registry.example.com/team/app", "team", "registry.example.com/team/"),
        ("registry.example.com/team-b/app", "host", "registry.example.com"),
        ("registry.example.com:5000/team/app", "port", "registry.example.com:5000"),
        ("other.example.com/app", "glob", "other.example.com"),
    ] {
        let [found, _, answered] = answer(&document, image).unwrap();
        assert_eq!((found.as_str(), answered.as_str()), (user, key), "{image}");
    }
}

#[test]
fn docker_hub_goes_by_both_names_and_nothing_else_gets_its_password() {
    let document = json!({"auths": {"https://index.docker.io/v1/": login("hub", "1")}});
    assert_eq!(answer(&document, "nginx").unwrap(), ["hub", "1", "docker.io"]);
    // The kubelet would fall back to Docker Hub here.
    assert!(answer(&document, "localhost/app").is_err());
    let both =
        json!({"auths": {"https://index.docker.io/v1/": login("hub", "1"), "docker.io": login("new", "2")}});
    assert_eq!(answer(&both, "nginx").unwrap()[0], "new");
}

#[test]
fn passwords_are_read_as_the_kubelet_reads_them() {
    for (entry, expected) in [
        (json!({"auth": "dTpw"}), ["u", "p"]),
        (json!({"auth": "dTpwOng="}), ["u", "p:x"]),
        (json!({"auth": "dTpwOng"}), ["u", "p:x"]),
        (json!({"auth": "dTpw\nOng=\n"}), ["u", "p:x"]),
        (json!({"username": "u", "password": "p", "email": "e"}), ["u", "p"]),
        (json!({"username": "old", "password": "old", "auth": "dTpw"}), ["u", "p"]),
        (json!({"auth": "", "username": "u", "password": "p"}), ["u", "p"]),
        (json!({"auth": "Ong="}), ["", "x"]),
        (json!({"auth": "dTo="}), ["u", ""]),
    ] {
        let [user, password, _] = answer(&json!({"auths": {"r.io": entry}}), "r.io/app").unwrap();
        assert_eq!([user.as_str(), password.as_str()], expected, "{entry}");
    }
}

#[test]
fn what_cannot_be_used_says_why() {
    let start = "auths key \"r.io\" of \"/f.json\" cannot be used for r.io/app: ";
    for (entry, expected) in [
        (json!({}), "it has neither \"auth\" nor \"username\" and \"password\""),
        (json!(null), "it has neither \"auth\" nor \"username\" and \"password\""),
        (json!({"auth": "hunter2!"}), "\"auth\" is not base64"),
        (json!({"auth": BASE64_STANDARD.encode("hunter2")}), "\"auth\" is not base64 of \"user:password\""),
        (
            json!({"auth": BASE64_STANDARD.encode(b"\xff:hunter2")}),
            "\"auth\" is not base64 of \"user:password\"",
        ),
        (
            json!({"auth": "dTpw", "identitytoken": "hunter2"}),
            "\"identitytoken\" is not supported, because the kubelet takes only user name and password",
        ),
        (
            json!({"registrytoken": "hunter2"}),
            "\"registrytoken\" is not supported, because the kubelet takes only user name and password",
        ),
    ] {
        assert_eq!(answer(&json!({"auths": {"r.io": entry}}), "r.io/app"), Err(format!("{start}{expected}")));
    }
}

#[test]
fn a_missing_key_lists_those_that_are_there_without_their_user() {
    let document =
        json!({"auths": {"robot:hunter2@r.io:5000": login("u", "p"), "a:hunter2": {}, "s.io": {}}});
    let expected = "\"/f.json\" has no auths key for r.io/app; it has \"s.io\", \"r.io:5000\"";
    assert_eq!(answer(&document, "r.io/app"), Err(expected.into()));
    assert_eq!(read(&document).unreadable_keys(), 1);
    let none = "\"/f.json\" has no auths key for r.io/app; it has none at all";
    assert_eq!(answer(&json!({}), "r.io/app"), Err(none.into()));
    let many: serde_json::Map<_, _> = (0..9).map(|n| (format!("r{n}.io"), login("u", "p"))).collect();
    assert!(answer(&json!({"auths": many}), "r.io/app").unwrap_err().ends_with("\"r4.io\" and 4 more"));
}

#[test]
fn a_helper_matters_only_where_its_password_would_be_needed() {
    let setting = |document: Value, image: &str| match select(&document, image) {
        Ok(_) => "found".to_owned(),
        Err(AuthsError::Helper { helper, .. }) => helper,
        Err(_) => "other".to_owned(),
    };
    let store = |entry: Value| json!({"auths": {"r.io": entry}, "credsStore": "pass"});
    assert_eq!(setting(store(login("u", "p")), "r.io/app"), "found");
    assert_eq!(setting(store(json!({})), "r.io/app"), "pass");
    assert_eq!(setting(store(login("u", "p")), "other.io/app"), "pass");
    let helpers = json!({"credHelpers": {"r.io": "ecr-login", "https://index.docker.io/v1/": "pass"}});
    assert_eq!(setting(helpers.clone(), "r.io/app"), "ecr-login");
    assert_eq!(setting(helpers.clone(), "nginx"), "pass");
    assert_eq!(setting(helpers, "other.io/app"), "other");
}

#[test]
fn an_answer_is_for_the_registry_unless_the_file_divides_it() {
    let document = json!({"auths": {
        "a.io": login("u", "p"),
        "b.io": login("u", "p"),
        "b.io/team": login("t", "p"),
    }});
    let path = |path: &str| Coverage::Path(path.to_owned());
    for (image, expected) in
        [("a.io/app", Coverage::Registry), ("b.io/team/app", path("/team")), ("b.io/app", path(""))]
    {
        assert_eq!(select(&document, image).unwrap().coverage, expected, "{image}");
    }
}

#[test]
fn a_repository_below_v1_gets_a_key_that_survives_the_kubelet() {
    let document = json!({"auths": {"r.io/v1/v1/team": login("u", "p")}});
    let [_, _, key] = answer(&document, "r.io/v1/team/app").unwrap();
    let filed = Endpoint::parse_auths_key(&key).unwrap();
    assert!(filed.covers(ImageRef::parse("r.io/v1/team/app").unwrap().endpoint()), "{key}");
}

#[test]
fn another_document_is_refused_without_repeating_it() {
    for text in [
        "",
        "hunter2",
        "[\"hunter2\"]",
        "{\"auths\": \"hunter2\"}",
        "{\"auths\": {\"r.io\": \"hunter2\"}}",
        "{\"auths\": {\"r.io\": {\"auth\": 7}}}",
        "{\"auths\": {\"r.io\": [\"hunter2\"]}}",
        "[{\"r.io\": {}}]",
        "{\"auths\": {}, \"auths\": {}}",
        "{\"credsStore\": [\"hunter2\"]}",
    ] {
        let error =
            Auths::parse(Path::new("/f.json"), text.as_bytes()).map_err(|error| chain(&error)).unwrap_err();
        assert!(
            error.starts_with("\"/f.json\" is no Docker config: ") && !error.contains("hunter2"),
            "{error}"
        );
    }
}

proptest! {
    #[test]
    fn an_answer_has_the_asked_registry_and_a_key_that_the_kubelet_finds_again(
        host in "[a-c]{1,2}(\\.[a-c]{1,2}){0,2}(:[1-3])?",
        path in "(/(v1|v2|team|app)){1,3}",
        star in any::<bool>(),
        scheme in prop::sample::select(vec!["", "https://", "http://"]),
        api in prop::sample::select(vec!["", "/v1", "/v2"]),
        cut in 0usize..12,
    ) {
        let image = ImageRef::parse(&format!("{host}.x{path}").replace(":", "")).unwrap();
        let registry = if star { image.registry().replacen('a', "*", 1) } else { image.registry().to_owned() };
        let prefix = &path[..cut.min(path.len())];
        let document = json!({"auths": {format!("{scheme}{registry}{api}{prefix}"): login("u", "p")}});
        if let Ok(Selected { coverage, .. }) = read(&document).select(&image) {
            let key = key(&coverage, &image);
            prop_assert!(key.starts_with(image.registry()));
            prop_assert!(Endpoint::parse_auths_key(&key).unwrap().covers(image.endpoint()), "{}", key);
        }
    }

    #[test]
    fn no_error_repeats_a_secret(secret in "[a-zA-Z0-9]{12,20}", entry in 0usize..6, image in "[a-c]\\.io/app") {
        let packed = BASE64_STANDARD.encode(&secret);
        let entries = [
            json!({"auth": format!("{secret}!")}),
            json!({"auth": packed}),
            json!({"identitytoken": secret}),
            json!([secret]),
            json!({"username": secret, "password": [secret]}),
            json!({"auth": {"a": secret}}),
        ];
        let document = json!({"auths": {"a.io": entries[entry], (format!("{secret}:{secret}@b.io")): {}}}).to_string();
        let shown = match Auths::parse(Path::new("/f.json"), document.as_bytes()) {
            Err(error) => chain(&error),
            Ok(auths) => match auths.select(&ImageRef::parse(&image).unwrap()) {
                Ok(found) => format!("{found:?}"),
                Err(error) => chain(&error),
            },
        };
        prop_assert!(!shown.contains(&secret) && !shown.contains(&packed), "{}", shown);
    }
}
