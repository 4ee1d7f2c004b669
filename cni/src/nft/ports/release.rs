//! Giving host ports back.

use std::io;
use std::net::IpAddr;

use nix::errno::Errno;

use super::{any, belongs_to, hairpin, of_address, place};
use crate::error;
use crate::hostport::HostPort;
use crate::ipam::store::Owner;
use crate::nft::ATTEMPTS;
use crate::nft::expr::Family;
use crate::nft::message::Batch;
use crate::nft::set::{Datum, Element, Set};
use crate::nft::socket::Nft;
use crate::record::attachment_hash;

/// Takes out those elements for `ports` that belong to `owner`. What is not there, or is another's, is
/// no failure. Returns the pods' addresses that they led to.
pub(crate) fn release(
    nft: &Nft,
    owner: &Owner<'_>,
    ports: &[HostPort],
    addresses: &[IpAddr],
) -> io::Result<Vec<IpAddr>> {
    remove(nft, || {
        let keys = ports.iter().flat_map(|port| {
            let families = Family::ALL.into_iter().filter(|family| port.is_of(*family));
            families.map(|family| place(port.address(), family, port.protocol.number(), port.host_port))
        });
        let mut owned = Vec::new();
        for (set, key) in keys {
            owned.extend(owned_at(nft, &set, &key, owner)?);
        }
        let led_to = owned.iter().filter_map(|(_, element)| pod(element));
        // Somebody may have emptied the maps alone.
        let mut pods: Vec<IpAddr> = led_to.chain(addresses.iter().copied()).collect();
        pods.sort_unstable();
        pods.dedup();
        for pod in pods {
            let key = Datum::new().address(pod).address(pod);
            owned.extend(owned_at(nft, &hairpin(Family::of(pod)), &key, owner)?);
        }
        Ok(owned)
    })
}

/// The same where nobody knows the ports: all elements are looked at.
pub(crate) fn release_all(nft: &Nft, hash: &str) -> io::Result<Vec<IpAddr>> {
    remove(nft, || {
        let mut owned = Vec::new();
        for family in Family::ALL {
            for set in [any(family), of_address(family), hairpin(family)] {
                let all = nft.elements(&set)?.into_iter();
                owned.extend(all.filter(|one| belongs_to(one, hash)).map(|one| (set, one)));
            }
        }
        Ok(owned)
    })
}

fn owned_at(nft: &Nft, set: &Set, key: &Datum, owner: &Owner<'_>) -> io::Result<Option<(Set, Element)>> {
    let found = nft.element(set, key)?.filter(|found| belongs_to(found, &attachment_hash(owner)));
    Ok(found.map(|found| (*set, found)))
}

fn remove(nft: &Nft, owned: impl Fn() -> io::Result<Vec<(Set, Element)>>) -> io::Result<Vec<IpAddr>> {
    for _ in 0..ATTEMPTS {
        let generation = nft.generation()?;
        let owned = owned()?;
        if owned.is_empty() {
            return Ok(Vec::new());
        }
        let mut batch = Batch::of_generation(generation);
        owned.iter().for_each(|(set, element)| batch.remove_element(set, &element.key));
        match nft.commit(batch) {
            Err(error) if error::is(&error, Errno::ERESTART) => {}
            done => return done.map(|()| owned.iter().filter_map(|(_, element)| pod(element)).collect()),
        }
    }
    Err(Errno::ERESTART.into())
}

/// The pod that an element leads to; none in a set.
fn pod(element: &Element) -> Option<IpAddr> {
    let value = element.value.bytes();
    match value.len() {
        8 => value.first_chunk::<4>().map(|octets| IpAddr::from(*octets)),
        20 => value.first_chunk::<16>().map(|octets| IpAddr::from(*octets)),
        _ => None,
    }
}
