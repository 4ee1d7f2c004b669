//! `/etc/resolv.conf`. Bounds are those of the C library; what it does not know is passed over, as there.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// Most name servers that are asked.
const MOST_SERVERS: usize = 3;

/// Most domains in which an incomplete name is looked for.
const MOST_DOMAINS: usize = 6;

/// What the file says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Settings {
    /// Name servers, in the order in which they are asked.
    pub(super) servers: Vec<IpAddr>,
    /// Domains in which an incomplete name is looked for.
    pub(super) search: Vec<String>,
    /// With so many dots a name is first looked for as it stands.
    pub(super) ndots: usize,
    /// Time for one question to one server.
    pub(super) timeout: Duration,
    /// How often each server is asked.
    pub(super) attempts: u32,
}

impl Settings {
    pub(super) fn parse(file: &[u8]) -> Self {
        let mut settings = Self {
            servers: Vec::new(),
            search: Vec::new(),
            ndots: 1,
            timeout: Duration::from_secs(5),
            attempts: 2,
        };
        for line in String::from_utf8_lossy(file).lines() {
            settings.read_line(line);
        }
        if settings.servers.is_empty() {
            settings.servers.push(Ipv4Addr::LOCALHOST.into());
        }
        settings
    }

    /// The names to ask for, in order, when `host` is looked up.
    pub(super) fn candidates(&self, host: &str) -> Vec<String> {
        if let Some(complete) = host.strip_suffix('.') {
            return vec![complete.to_owned()];
        }
        let mut names: Vec<String> = self.search.iter().map(|domain| format!("{host}.{domain}")).collect();
        let complete = host.matches('.').count() >= self.ndots;
        names.insert(if complete { 0 } else { names.len() }, host.to_owned());
        names
    }

    fn read_line(&mut self, line: &str) {
        let line = line.split(['#', ';']).next().unwrap_or_default();
        let mut fields = line.split_ascii_whitespace();
        match fields.next() {
            Some("nameserver") => {
                self.servers.extend(fields.next().and_then(|server| server.parse::<IpAddr>().ok()));
                self.servers.truncate(MOST_SERVERS);
            }
            // The last of them counts.
            Some("search" | "domain") => {
                let domains = fields.map(|domain| domain.trim_end_matches('.').to_owned());
                self.search = domains.filter(|domain| !domain.is_empty()).take(MOST_DOMAINS).collect();
            }
            Some("options") => fields.for_each(|option| self.read_option(option)),
            _ => {}
        }
    }

    fn read_option(&mut self, option: &str) {
        let Some((name, Ok(number))) = option.split_once(':').map(|(name, n)| (name, n.parse::<u32>()))
        else {
            return;
        };
        match name {
            "ndots" => self.ndots = usize::try_from(number.min(15)).unwrap_or(15),
            "timeout" => self.timeout = Duration::from_secs(number.clamp(1, 30).into()),
            "attempts" => self.attempts = number.clamp(1, 5),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::Settings;

    #[test]
    fn everything_in_it_is_read() {
        let settings = Settings::parse(
            b"; comment\nnameserver 10.0.0.1 # one\nnameserver fd00::1\nnameserver fe80::1%eth0\nnameserver x\n\
            domain old.example\nsearch a.example b.example.\noptions ndots:5 timeout:2 rotate attempts:3 edns0\n\
            nameserver 10.0.0.3\nnameserver 10.0.0.4\n",
        );
        let servers: Vec<_> = settings.servers.iter().map(ToString::to_string).collect();
        assert_eq!(servers, ["10.0.0.1", "fd00::1", "10.0.0.3"]);
        assert_eq!(settings.search, ["a.example", "b.example"]);
        assert_eq!((settings.ndots, settings.attempts, settings.timeout), (5, 3, Duration::from_secs(2)));
    }

    #[test]
    fn without_a_file_the_defaults_hold() {
        let settings = Settings::parse(b"");
        assert_eq!(settings.servers, [std::net::IpAddr::from([127, 0, 0, 1])]);
        assert_eq!((settings.ndots, settings.attempts, settings.timeout), (1, 2, Duration::from_secs(5)));
    }

    #[test]
    fn which_names_are_asked_for() {
        let settings = Settings::parse(b"search x y\noptions ndots:2");
        assert_eq!(settings.candidates("a.b.c"), ["a.b.c", "a.b.c.x", "a.b.c.y"]);
        assert_eq!(settings.candidates("a.b"), ["a.b.x", "a.b.y", "a.b"]);
        assert_eq!(settings.candidates("a."), ["a"]);
    }

    proptest! {
        #[test]
        fn whatever_it_holds_somebody_is_asked_a_bounded_number_of_times(
            file in "((nameserver|search|options|domain|#)[ :a-z0-9.\\t]{0,20}\n){0,12}",
            option in "options (ndots|timeout|attempts):[0-9]{0,12}",
        ) {
            let settings = Settings::parse(format!("{file}{option}").as_bytes());
            prop_assert!((1..=3).contains(&settings.servers.len()));
            prop_assert!((1..=5).contains(&settings.attempts) && settings.search.len() <= 6);
            prop_assert!(!settings.candidates("a.b").is_empty());
        }

        #[test]
        fn no_bytes_panic(file in prop::collection::vec(any::<u8>(), 0..80)) {
            prop_assert!(!Settings::parse(&file).servers.is_empty());
        }
    }
}
