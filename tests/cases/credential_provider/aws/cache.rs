//! What is kept between two runs, for whom, and how long.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;
use tripod_tests::farend::aws::{Ecr, Key, Trust};
use tripod_tests::farend::moto::Python;
use tripod_tests::farend::{Mood, Server};

use super::{
    AUDIENCE, EXTERNAL_ID, IMAGE, OTHER_ROLE, POD_ROLE, REGION, SECRET, Site, USER, annotated,
    assert_no_secret, session,
};

impl Site {
    /// How many credentials are kept.
    fn kept(&self) -> usize {
        self.files("json").len()
    }

    /// Makes what is kept older by `seconds`, and what is noted of failures too.
    fn age(&self, seconds: u64) {
        for (end, time) in [("json", "obtained"), ("lock", "clock")] {
            for path in self.files(end) {
                let Ok(mut document) = serde_json::from_slice::<Value>(&std::fs::read(&path).unwrap()) else {
                    continue;
                };
                document[time] = (document[time].as_u64().unwrap() - seconds).into();
                std::fs::write(&path, document.to_string()).unwrap();
            }
        }
    }

    fn files(&self, end: &str) -> Vec<PathBuf> {
        let files = std::fs::read_dir(self.node.path("cache")).into_iter().flatten();
        files
            .map(|file| file.unwrap().path())
            .filter(|path| path.extension().is_some_and(|e| e == end))
            .collect()
    }
}

#[test]
fn pods_of_one_account_share_and_no_others() {
    let site = Site::new();
    site.configure(&["identity: [service-account]"]);
    for name in ["other", "third"] {
        let (issuer, audience) = (site.cluster.clone(), AUDIENCE.to_owned());
        let subject = format!("system:serviceaccount:team:{name}");
        let role = POD_ROLE.replace("puller", name);
        site.accounts.add_role(&role, Trust::WebIdentity { issuer, subject, audience });
    }
    let mut asked = 0;
    let mut ask = |account: &str, role: &str, is_new: bool| {
        let token = site.token(account, AUDIENCE);
        let ran = site.ask_for(IMAGE, &token, &annotated(role));
        asked += usize::from(is_new);
        assert_eq!(site.sts.seen().len(), asked, "{account} as {role}");
        ran
    };
    ask("team/puller", POD_ROLE, true).principal();
    ask("team/puller", POD_ROLE, false).principal();
    ask("team/other", &POD_ROLE.replace("puller", "other"), true).principal();
    ask("team/other", POD_ROLE, true).assert_says(&["AccessDenied"]);
    ask("team/puller", &POD_ROLE.replace("puller", "third"), true).assert_says(&["AccessDenied"]);
    ask("team/puller", POD_ROLE, false).principal();
    let wrong = site.token("team/puller", "another");
    site.ask_for(IMAGE, &wrong, &annotated(POD_ROLE)).assert_says(&["InvalidIdentityToken"]);
}

#[test]
fn whatever_decides_whose_credentials_they_are_keeps_them_apart() {
    let mut site = Site::new().with_key();
    let key =
        site.accounts.add(Key::of_user("AKIAI44QH8DHBEXAMPLE", SECRET, "arn:aws:iam::111122223333:user/b"));
    site.configure(&[]);
    assert_eq!(site.ask(IMAGE).principal().0, USER);
    site = site.set("AWS_ACCESS_KEY_ID", &key.id);
    assert_eq!(site.ask(IMAGE).principal().0, key.principal, "another key of the environment");
    let files = [("default", &site.key), ("ci", &key)].map(|(name, key)| {
        format!("[{name}]\naws_access_key_id={}\naws_secret_access_key={}\n", key.id, key.secret)
    });
    let file = site.file("credentials", &files.concat());
    site = site.set("AWS_SHARED_CREDENTIALS_FILE", &file);
    site.configure(&["identity: [profile]"]);
    assert_eq!(site.ask(IMAGE).principal().0, USER);
    site.configure(&["identity: [profile]", "profile: ci"]);
    assert_eq!(site.ask(IMAGE).principal().0, key.principal, "another profile");
    site.file("credentials", &files.concat().replace("[ci]", "[x]").replace("[default]", "[ci]"));
    assert_eq!(site.ask(IMAGE).principal().0, USER, "the same profile with another key");
    let other = Server::start(Ecr::new(&site.accounts, "us-east-1"));
    site = site.set("AWS_ENDPOINT_URL_ECR", &other.url());
    assert_eq!(site.ask(&IMAGE.replace(REGION, "us-east-1")).principal().0, USER);
    assert_eq!(other.seen().len(), 1, "another region");
    let (arn, id) = (format!("assumeRole: {OTHER_ROLE}"), format!("externalId: {EXTERNAL_ID}"));
    let url = site.ecr.url();
    site = site.set("AWS_ENDPOINT_URL_ECR", &url);
    site.configure(&["identity: [profile]", "profile: ci", &arn, &id]);
    assert_eq!(site.ask(IMAGE).principal().0, session(OTHER_ROLE, "tripod"), "another role");
    site.configure(&["identity: [profile]", "profile: ci", &arn, "externalId: else"]);
    site.ask(IMAGE).assert_says(&["AccessDenied"]);
}

#[test]
fn what_is_kept_outlasts_trouble_and_is_renewed_after_it() {
    let site = Site::new().with_key();
    site.configure(&[]);
    let password = |ran: super::Ran| ran.document()["auth"].to_string();
    let first = password(site.ask(IMAGE));
    site.age(13 * 3600);
    site.ecr.mood(Mood::Failing(500));
    assert_eq!(password(site.ask(IMAGE)), first, "past half of its life, and renewing fails");
    let asked = site.ecr.seen().len();
    assert!(asked > 1);
    site.ecr.mood(Mood::Well);
    assert_eq!(password(site.ask(IMAGE)), first, "a moment after a failure");
    assert_eq!(site.ecr.seen().len(), asked);
    site.age(30);
    let second = password(site.ask(IMAGE));
    assert_ne!(second, first);
    site.ecr.mood(Mood::Failing(500));
    assert_eq!(password(site.ask(IMAGE)), second);
}

#[test]
fn a_far_end_that_hangs_costs_no_pull_its_time_while_there_is_a_good_password() {
    let site = Site::new().with_key();
    site.configure(&[]);
    site.ask(IMAGE).principal();
    site.age(13 * 3600);
    site.ecr.mood(Mood::Silent);
    let config = site.node.path("config.yaml");
    let longer = std::fs::read_to_string(&config).unwrap().replace("deadline: 3s", "deadline: 40s");
    std::fs::write(&config, longer).unwrap();
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..5 {
            scope.spawn(|| site.ask(IMAGE).principal());
        }
    });
    assert!(start.elapsed() < Duration::from_secs(14), "a renewal has 8 of 40 s: {:?}", start.elapsed());
    let (asked, start) = (site.ecr.seen().len(), Instant::now());
    assert_eq!(asked, 2, "once for the first password, and once to renew it");
    site.ask(IMAGE).principal();
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    assert_eq!(site.ecr.seen().len(), asked, "it was tried a moment ago");
}

#[test]
fn a_token_that_is_past_is_passed_on_and_not_kept() {
    let site = Site::new().with_key();
    site.configure(&[]);
    site.ecr.mood(Mood::Expired);
    assert_eq!(site.ask(IMAGE).principal(), (USER.to_owned(), 0));
    assert_eq!((site.ask(IMAGE).principal().1, site.ecr.seen().len(), site.kept()), (0, 2, 0));
}

#[test]
fn no_secret_lies_in_what_is_told_of_the_cache() {
    let site = Site::new().with_key();
    site.configure(&[]);
    site.ask(IMAGE).principal();
    let told = site.run(&["cache", "ls"], "").stdout;
    assert!(told.contains("ECR in eu-west-1, asked with access key AKIAIOSFODNN7EXAMPLE"), "{told}");
    assert_no_secret(&told);
    assert_eq!(site.kept(), 1);
}

#[test]
fn moto_is_taken_for_aws_and_its_clock_for_what_it_is() {
    let Some(moto) = Python::installed().map(|python| python.moto()) else { return };
    let mut site = Site::new()
        .set("AWS_ENDPOINT_URL", &moto.url())
        .set("AWS_EC2_METADATA_SERVICE_ENDPOINT", &moto.url());
    for service in ["ECR", "STS", "ECR_PUBLIC"] {
        site.env.remove(&format!("AWS_ENDPOINT_URL_{service}"));
    }
    let node = site.node.path("config.yaml");
    site.configure(&["identity: [imds]", &format!("assumeRole: {OTHER_ROLE}")]);
    // It has just been started on a machine that does other things as well.
    let config = std::fs::read_to_string(&node).unwrap().replace("deadline: 3s", "deadline: 25s");
    std::fs::write(&node, config).unwrap();
    let document = site.ask(IMAGE).document();
    assert_eq!(document["cacheDuration"], "0s", "its tokens are past since 2015");
    let login = &document["auth"]["111122223333.dkr.ecr.eu-west-1.amazonaws.com"];
    assert_eq!(login["username"], "AWS");
    assert_eq!(site.kept(), 0);
}
