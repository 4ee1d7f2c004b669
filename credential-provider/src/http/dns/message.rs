//! Questions to name servers and their answers, as bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, Question as Entry, RCODE, TYPE};

/// Most aliases that are followed. Content networks use three or four.
const MOST_ALIASES: usize = 8;

/// Which addresses are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

/// One question.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) id: u16,
    pub(super) family: Family,
    /// Without a dot at the end.
    pub(super) name: String,
}

/// What a server says to it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Its addresses; none, if it has others only.
    Addresses(Vec<IpAddr>),
    /// There is no such name.
    NoSuchName,
    /// The server cannot or will not say, by this response code.
    Refused(&'static str),
    /// The answer is longer than a datagram.
    Truncated,
}

impl Question {
    /// The question on the wire, or none if the name cannot stand there.
    pub(super) fn bytes(&self) -> Option<Vec<u8>> {
        let mut packet = Packet::new_query(self.id);
        packet.set_flags(PacketFlag::RECURSION_DESIRED);
        let name = Name::new(&self.name).ok()?;
        let entry = Entry::new(name, QTYPE::TYPE(self.kind()), QCLASS::CLASS(CLASS::IN), false);
        packet.questions.push(entry);
        packet.build_bytes_vec().ok()
    }

    /// What `bytes` says to this question; none if it is no answer to it, but a stray or forged one.
    pub(super) fn read(&self, bytes: &[u8]) -> Option<Answer> {
        let packet = Packet::parse(bytes).ok()?;
        let repeated = packet.questions.first().filter(|_| packet.questions.len() == 1)?;
        let ours = packet.id() == self.id
            && packet.has_flags(PacketFlag::RESPONSE)
            && repeated.qtype == QTYPE::TYPE(self.kind())
            && repeated.qclass == QCLASS::CLASS(CLASS::IN)
            && is_name(&repeated.qname, &self.name);
        ours.then(|| self.judge(&packet))
    }

    fn judge(&self, packet: &Packet<'_>) -> Answer {
        if packet.has_flags(PacketFlag::TRUNCATION) {
            return Answer::Truncated;
        }
        match packet.rcode() {
            RCODE::NoError => Answer::Addresses(self.addresses(packet)),
            RCODE::NameError => Answer::NoSuchName,
            RCODE::ServerFailure => Answer::Refused("SERVFAIL"),
            RCODE::Refused => Answer::Refused("REFUSED"),
            RCODE::FormatError => Answer::Refused("FORMERR"),
            RCODE::NotImplemented => Answer::Refused("NOTIMP"),
            _ => Answer::Refused("an unknown code"),
        }
    }

    /// The addresses at the end of the chain of aliases that begins with the name.
    fn addresses(&self, packet: &Packet<'_>) -> Vec<IpAddr> {
        let mut name = self.name.clone();
        for _ in 0..=MOST_ALIASES {
            let records = || packet.answers.iter().filter(|record| is_name(&record.name, &name));
            let found: Vec<IpAddr> = records().filter_map(|record| self.address(&record.rdata)).collect();
            let alias = records().find_map(|record| match &record.rdata {
                RData::CNAME(alias) => Some(alias.0.to_string()),
                _ => None,
            });
            match alias {
                Some(alias) if found.is_empty() => name = alias,
                _ => return found,
            }
        }
        Vec::new()
    }

    fn address(&self, data: &RData<'_>) -> Option<IpAddr> {
        match (data, self.family) {
            (RData::A(a), Family::V4) => Some(Ipv4Addr::from_bits(a.address).into()),
            (RData::AAAA(aaaa), Family::V6) => Some(Ipv6Addr::from_bits(aaaa.address).into()),
            _ => None,
        }
    }

    fn kind(&self) -> TYPE {
        match self.family {
            Family::V4 => TYPE::A,
            Family::V6 => TYPE::AAAA,
        }
    }
}

fn is_name(name: &Name<'_>, text: &str) -> bool {
    name.to_string().eq_ignore_ascii_case(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use simple_dns::rdata::{A, CNAME, RData};
    use simple_dns::{CLASS, Name, Packet, PacketFlag, RCODE, ResourceRecord};

    use super::{Answer, Family, Question};

    fn question() -> Question {
        Question { id: 7, family: Family::V4, name: "api.example.com".into() }
    }

    /// A reply to [`question`] that `change` has changed.
    fn reply(change: impl FnOnce(&mut Packet<'_>)) -> Option<Answer> {
        let bytes = question().bytes().unwrap();
        let mut packet = Packet::parse(&bytes).unwrap().into_reply();
        packet.set_flags(PacketFlag::RESPONSE);
        change(&mut packet);
        question().read(&packet.build_bytes_vec_compressed().unwrap())
    }

    fn alias<'a>(name: &'a str, target: &'a str) -> ResourceRecord<'a> {
        let data = RData::CNAME(CNAME(Name::new_unchecked(target)));
        ResourceRecord::new(Name::new_unchecked(name), CLASS::IN, 1, data)
    }

    fn address(name: &str) -> ResourceRecord<'_> {
        let data = RData::A(A { address: 0x0a00_0001 });
        ResourceRecord::new(Name::new_unchecked(name), CLASS::IN, 1, data)
    }

    #[test]
    fn aliases_are_followed_in_any_order() {
        let answer = reply(|packet| {
            packet.answers = vec![
                address("c.example.net"),
                alias("b.example.net", "c.example.net"),
                address("other.example.net"),
                alias("API.example.com", "b.example.net"),
            ];
        });
        assert_eq!(answer, Some(Answer::Addresses(vec![[10, 0, 0, 1].into()])));
    }

    #[test]
    fn a_circle_of_aliases_ends() {
        let answer = reply(|packet| {
            packet.answers = vec![alias("api.example.com", "b"), alias("b", "api.example.com")];
        });
        assert_eq!(answer, Some(Answer::Addresses(Vec::new())));
    }

    #[test]
    fn what_the_server_says_instead() {
        assert_eq!(reply(|p| *p.rcode_mut() = RCODE::NameError), Some(Answer::NoSuchName));
        assert_eq!(reply(|p| *p.rcode_mut() = RCODE::ServerFailure), Some(Answer::Refused("SERVFAIL")));
        assert_eq!(reply(|p| p.set_flags(PacketFlag::TRUNCATION)), Some(Answer::Truncated));
    }

    #[test]
    fn what_is_no_answer_to_it() {
        assert_eq!(reply(|p| p.set_id(8)), None);
        assert_eq!(reply(|p| p.questions.clear()), None);
        assert_eq!(reply(|p| p.remove_flags(PacketFlag::RESPONSE)), None);
        assert_eq!(reply(|p| p.questions[0].qname = Name::new_unchecked("api.example.net")), None);
        assert_eq!(question().read(b""), None);
        assert!(Question { name: "a".repeat(64), ..question() }.bytes().is_none());
    }

    proptest! {
        #[test]
        fn no_bytes_panic(tail in prop::collection::vec(any::<u8>(), 0..64), cut in 0_usize..40) {
            let mut bytes = question().bytes().unwrap();
            bytes.truncate(cut);
            bytes.extend(tail);
            let _answer = question().read(&bytes);
        }
    }
}
