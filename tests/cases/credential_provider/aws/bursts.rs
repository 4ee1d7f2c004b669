//! A node that starts: many pulls at once are few requests.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use tripod_tests::farend::Mood;
use tripod_tests::programs;
use tripod_tests::puller::{Account, CacheType, Provider, Puller};

use super::{ANNOTATION, AUDIENCE, IMAGE, POD_ROLE, Site};

impl Site {
    /// Asks for all `images` at once; the principals that were given, and the passwords.
    fn ask_at_once(&self, images: &[String]) -> BTreeSet<String> {
        std::thread::scope(|scope| {
            let asked: Vec<_> =
                images.iter().map(|image| scope.spawn(|| self.ask(image).document())).collect();
            let answers = asked.into_iter().map(|thread| thread.join().unwrap());
            answers
                .map(|document| document["auth"].as_object().unwrap().values().next().unwrap().to_string())
                .collect()
        })
    }
}

#[test]
fn twenty_images_at_once_are_one_request_and_later_ones_none() {
    let site = Site::new();
    site.configure(&[]);
    let images: Vec<_> = (0..20).map(|n| format!("{IMAGE}-{n}")).collect();
    assert_eq!(site.ask_at_once(&images).len(), 1);
    assert_eq!((site.ecr.count("POST /"), site.imds.count("PUT /")), (1, 1));
    site.ask_at_once(&images[..3]);
    assert_eq!((site.ecr.count("POST /"), site.imds.count("PUT /")), (1, 1));
}

#[test]
fn ten_accounts_of_one_region_are_one_request() {
    let site = Site::new().with_key();
    site.configure(&[]);
    let images: Vec<_> = (0..10).map(|n| IMAGE.replace("111122223333", &format!("11112222333{n}"))).collect();
    assert_eq!(site.ask_at_once(&images).len(), 1);
    assert_eq!(site.ecr.count("POST /"), 1);
}

#[test]
fn a_hundred_pods_of_one_account_are_one_role_and_one_token() {
    let site = Site::new();
    site.configure(&["identity: [service-account]"]);
    let config = site.node.path("config.yaml").display().to_string();
    let program = programs::program("tripod-credential-provider");
    let provider = Provider::new(&program, &["*.dkr.ecr.*.amazonaws.com"]).args(["--config", &config]);
    let provider =
        Provider { env: site.env.clone(), ..provider.with_tokens(CacheType::ServiceAccount, true) };
    let puller = Puller::new([provider]);
    let logins: BTreeSet<_> = std::thread::scope(|scope| {
        let pods = (0..100).map(|_| {
            let (token, annotations) = (site.token("team/puller", AUDIENCE), annotations());
            let pod = Account { name: "team/puller".into(), uid: "u".into(), token, annotations };
            let puller = &puller;
            scope.spawn(move || puller.credentials(IMAGE, Some(&pod)).into_iter().map(|login| login.password))
        });
        let pods: Vec<_> = pods.collect();
        pods.into_iter().flat_map(|pod| pod.join().unwrap()).collect()
    });
    assert_eq!(puller.failures(), [""; 0]);
    assert_eq!(logins.len(), 1);
    assert_eq!((site.sts.count("POST /"), site.ecr.count("POST /")), (1, 1));
}

#[test]
fn a_failure_is_one_for_all_who_wait_and_the_next_pull_asks_anew() {
    let site = Site::new().with_key();
    site.configure(&[]);
    let config = site.node.path("config.yaml");
    let longer = std::fs::read_to_string(&config).unwrap().replace("deadline: 3s", "deadline: 8s");
    std::fs::write(&config, longer).unwrap();
    site.ecr.mood(Mood::Silent);
    // It may have to be built, which takes longer than it is given.
    programs::program("tripod-credential-provider");
    let start = Instant::now();
    std::thread::scope(|scope| {
        for n in 0..20 {
            let site = &site;
            scope.spawn(move || {
                site.ask(&format!("{IMAGE}-{n}")).assert_says(&["step=ecr-token err=timeout"]);
            });
        }
    });
    assert!(start.elapsed() < Duration::from_secs(12), "the deadline is 8 s: {:?}", start.elapsed());
    assert!(site.ecr.seen().len() <= 2, "asked {} times", site.ecr.seen().len());
    site.ecr.mood(Mood::Well);
    site.ask(IMAGE).principal();
}

fn annotations() -> BTreeMap<String, String> {
    [(ANNOTATION.to_owned(), POD_ROLE.to_owned())].into()
}
