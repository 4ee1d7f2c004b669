//! Profiles of the shared config and credentials files.

use super::{
    AUDIENCE, EXTERNAL_ID, IMAGE, NODE_ROLE, OTHER_ROLE, POD_ROLE, REGION, SECRET, Site, TASK_ROLE,
    TASK_TOKEN, USER, session,
};

impl Site {
    /// With these two files.
    fn with_files(self, config: &str, credentials: &str) -> Self {
        let (config, credentials) =
            (self.file("aws-config", config), self.file("aws-credentials", credentials));
        self.set("AWS_CONFIG_FILE", &config).set("AWS_SHARED_CREDENTIALS_FILE", &credentials)
    }
}

/// The user's key as a profile called `title`.
fn user(title: &str) -> String {
    format!("[{title}]\naws_access_key_id = AKIAIOSFODNN7EXAMPLE\naws_secret_access_key = {SECRET}\n")
}

/// A profile that takes on the other account's role in these further words.
fn shared(words: &str) -> String {
    format!("[profile shared]\nrole_arn = {OTHER_ROLE}\nexternal_id = {EXTERNAL_ID}\n{words}\n")
}

#[test]
fn a_profile_holds_an_access_key() {
    let site = Site::new().with_files("", &user("default"));
    site.configure(&[]);
    assert_eq!(site.ask(IMAGE).principal().0, USER);
    let site = Site::new().with_files(&user("profile ci"), "[default]\n");
    site.configure(&["profile: ci"]);
    assert_eq!(site.ask(IMAGE).principal().0, USER);
    let site = Site::new().with_files(&user("profile ci"), "").set("AWS_PROFILE", "ci");
    site.configure(&[]);
    assert_eq!(site.ask(IMAGE).principal().0, USER);
    site.configure(&["profile: other"]);
    site.ask(IMAGE).assert_says(&[
        "no profile \"other\" in",
        "aws-config or",
        "correct profile or AWS_PROFILE",
    ]);
}

#[test]
fn a_default_profile_that_only_sets_a_region_is_no_identity() {
    let site = Site::new().with_files("[default]\nregion = eu-west-1\noutput = json\n", "");
    site.configure(&[]);
    assert_eq!(site.ask(IMAGE).principal().0, session(NODE_ROLE, "i-0123456789"));
    site.configure(&["identity: [profile]"]);
    site.ask(IMAGE).assert_says(&["profile (profile \"default\" in", "only has settings"]);
}

#[test]
fn files_are_looked_for_below_a_home_only_where_there_is_one() {
    let site = Site::new();
    std::fs::create_dir(site.node.path(".aws")).unwrap();
    site.file(".aws/credentials", &user("default"));
    site.configure(&["identity: [profile]"]);
    site.ask(IMAGE).assert_says(&["neither AWS_CONFIG_FILE nor HOME is set"]);
    let home = site.node.path("").display().to_string();
    let site = site.set("HOME", &home);
    assert_eq!(site.ask(IMAGE).principal().0, USER);
}

#[test]
fn a_profile_takes_on_a_role_with_another() {
    let config =
        user("profile a") + "[profile b]\nsource_profile = a\n" + &format!("role_arn = {OTHER_ROLE}\n");
    let config = config + &shared("source_profile = a\nrole_session_name = deploy");
    let site = Site::new().with_files(&config, "");
    site.configure(&["profile: shared"]);
    assert_eq!(site.ask(IMAGE).principal().0, session(OTHER_ROLE, "deploy"));
    site.configure(&["profile: b"]);
    site.ask(IMAGE).assert_says(&["step=sts-assume-role", "code=AccessDenied"]);
    let own = shared("source_profile = shared") + user("x").split_once('\n').unwrap().1;
    let site = Site::new().with_files(&own, "");
    site.configure(&["profile: shared"]);
    assert_eq!(site.ask(IMAGE).principal().0, session(OTHER_ROLE, "tripod"), "one may build on its own key");
}

#[test]
fn a_profile_takes_on_a_role_with_what_the_node_has() {
    let site = Site::new().with_key().with_files(&shared("credential_source = Environment"), "");
    site.configure(&["identity: [profile]", "profile: shared"]);
    assert_eq!(site.ask(IMAGE).principal().0, session(OTHER_ROLE, "tripod"));
    let site = Site::new().with_files(&shared("credential_source = Ec2InstanceMetadata"), "");
    site.trust(NODE_ROLE);
    site.configure(&["profile: shared"]);
    assert_eq!(site.ask(IMAGE).principal().0, session(OTHER_ROLE, "tripod"));
    let url = format!("{}/v2/keys", site.task.url());
    let site = site
        .with_files(&shared("credential_source = EcsContainer"), "")
        .set("AWS_CONTAINER_CREDENTIALS_FULL_URI", &url)
        .set("AWS_CONTAINER_AUTHORIZATION_TOKEN", TASK_TOKEN);
    site.trust(TASK_ROLE);
    assert_eq!(site.ask(IMAGE).principal().0, session(OTHER_ROLE, "tripod"));
    let token = site.file("token", &site.token("team/puller", AUDIENCE));
    let config =
        format!("[profile pod]\nrole_arn={POD_ROLE}\nweb_identity_token_file={token}\nregion={REGION}\n");
    let site = site.with_files(&config, "");
    site.configure(&["profile: pod"]);
    assert_eq!(site.ask(IMAGE).principal().0, session(POD_ROLE, "tripod"));
}

#[test]
fn profiles_that_lead_nowhere_are_told_by_name() {
    let circle = "[profile a]\nrole_arn = arn:aws:iam::1:role/a\nsource_profile = b\n\
        [profile b]\nrole_arn = arn:aws:iam::1:role/b\nsource_profile = a\n";
    for (config, said) in [
        (circle.to_owned(), "source_profile goes in a circle: a -> b -> a"),
        ("[profile a]\nregion = eu-west-1".to_owned(), "profile \"a\" has neither aws_access_key_id with"),
        ("[profile a]\naws_access_key_id = AKIA".to_owned(), "profile \"a\" has neither"),
        (
            "[profile a]\ncredential_process = /bin/hunter2".to_owned(),
            "profile \"a\" runs a program (credential_process)",
        ),
        ("[profile a]\nsso_session = x".to_owned(), "profile \"a\" needs a person to sign in (sso)"),
        (
            format!("[profile a]\nrole_arn = {POD_ROLE}"),
            "has a role_arn and neither source_profile, credential_source",
        ),
        (format!("[profile a]\nrole_arn = {POD_ROLE}\nsource_profile = b"), "no profile \"b\" in"),
        (
            format!(
                "[profile a]\nrole_arn = {POD_ROLE}\nsource_profile = a\ncredential_source = Environment"
            ),
            "has both source_profile and credential_source",
        ),
        (
            format!("[profile a]\nrole_arn = {POD_ROLE}\ncredential_source = Laptop"),
            "has a credential_source other than Environment,",
        ),
        (
            format!("[profile a]\nrole_arn = {POD_ROLE}\ncredential_source = Environment"),
            "needs credential_source Environment: AWS_ACCESS_KEY_ID is not set",
        ),
        ("[profile a]\nrole_arn = hunter".to_owned(), "role_arn of profile \"a\" is no role"),
        ("[profile a]\nrole_arn".to_owned(), "aws-config:2: it is neither a section nor a key with a value"),
    ] {
        let site = Site::new().with_files(&config, "");
        site.configure(&["profile: a"]);
        site.ask(IMAGE).assert_says(&[said]);
        site.assert_silence();
    }
}
