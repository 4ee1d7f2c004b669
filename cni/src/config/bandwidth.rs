//! Limits of what a pod may send and receive, in the convention's units: bits per second, and bits.
//! No I/O.

use std::collections::BTreeMap;
use std::fmt;

use super::json;
use super::raw::Object;
use crate::error::Error;

/// From here on a burst stands for "nobody chose one": containerd sends 2³²−1, CRI-O eight times that,
/// the kubelet sent 2³¹−1. Taken literally, the first half gigabyte of every pod would pass unlimited.
const NOT_CHOSEN: u64 = i32::MAX.cast_unsigned() as u64;

/// The limits of one attachment; a direction without one is unlimited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bandwidth {
    /// Towards the pod.
    pub ingress: Option<Limit>,
    /// From the pod.
    pub egress: Option<Limit>,
}

/// A rate, and how much may exceed it for a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limit {
    /// Bytes per second, not 0.
    pub rate: u64,
    /// Bytes; absent when nobody chose.
    pub burst: Option<u32>,
}

impl Bandwidth {
    /// The keys in `object` itself, as of the reference plugin `bandwidth`; without them those of `runtime`,
    /// its `runtimeConfig` with folded keys.
    pub(super) fn complete(object: &Object, runtime: &Object) -> Result<Self, Error> {
        let fixed = Self::read(object)?;
        if fixed != Self::default() {
            return Ok(fixed);
        }
        let asked = runtime.object("bandwidth")?;
        asked.map_or(Ok(Self::default()), |asked| Self::read(&asked))
    }

    fn read(object: &Object) -> Result<Self, Error> {
        Ok(Self {
            ingress: limit(object, "ingressRate", "ingressBurst")?,
            egress: limit(object, "egressRate", "egressBurst")?,
        })
    }
}

/// As the keys say it, in bits per second.
impl fmt::Display for Bandwidth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sides = [("ingressRate", self.ingress), ("egressRate", self.egress)].into_iter();
        let rates = sides.filter_map(|(key, limit)| Some((key, limit?.rate.saturating_mul(8))));
        f.write_str(&json(rates.collect::<BTreeMap<_, _>>()))
    }
}

fn limit(object: &Object, rate_key: &str, burst_key: &str) -> Result<Option<Limit>, Error> {
    let rate = object.get::<u64>(rate_key)?.unwrap_or_default();
    let burst = object.get::<u64>(burst_key)?.unwrap_or_default();
    let bad = |key: &str, value: u64, problem: String| Err(Error::config(object.name(key), value, problem));
    match (rate, burst) {
        (0, 0) => Ok(None),
        (0, _) => bad(burst_key, burst, format!("needs {rate_key} too, in bits per second")),
        (_, 0) => bad(rate_key, rate, format!("needs {burst_key} too, in bits")),
        // The kernel counts bytes; with 0 of them nothing would be limited.
        (1..8, _) => bad(rate_key, rate, "is below 8 bits per second".to_owned()),
        (_, NOT_CHOSEN..) => Ok(Some(Limit { rate: rate / 8, burst: None })),
        _ => Ok(Some(Limit { rate: rate / 8, burst: u32::try_from(burst / 8).ok() })),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(conf: &Value) -> Result<Bandwidth, Error> {
        let object = Object::parse(conf.to_string().as_bytes()).unwrap();
        Bandwidth::complete(&object, &crate::config::runtime_config(&object)?)
    }

    const fn limit(rate: u64, burst: Option<u32>) -> Option<Limit> {
        Some(Limit { rate, burst })
    }

    #[test]
    fn bits_become_bytes_from_every_source() {
        let fixed = json!({"ingressRate": 8000, "ingressBurst": 16000, "egressRate": 24, "egressBurst": 80});
        let both = Bandwidth { ingress: limit(1000, Some(2000)), egress: limit(3, Some(10)) };
        assert_eq!(read(&fixed).unwrap(), both);
        assert_eq!(read(&json!({"runtimeConfig": {"bandwidth": fixed}})).unwrap(), both);
        // containerd's spelling, and the configuration before the runtime.
        let runtime = json!({"bandwidth": {"IngressRate": 800, "IngressBurst": 4_294_967_295u64, "EgressRate": 0, "EgressBurst": 0}});
        let asked = read(&json!({"runtimeConfig": runtime})).unwrap();
        assert_eq!(asked, Bandwidth { ingress: limit(100, None), egress: None });
        let mut with_both = fixed;
        with_both["runtimeConfig"] = runtime;
        assert_eq!(read(&with_both).unwrap(), both);
    }

    #[test]
    fn nothing_is_limited_where_nothing_is_asked() {
        for conf in [
            json!({}),
            json!({"runtimeConfig": null}),
            json!({"runtimeConfig": {"bandwidth": null}}),
            json!({"runtimeConfig": {"Bandwidth": {"IngressRate": null}}}),
            json!({"ingressRate": 0, "ingressBurst": 0, "egressRate": 0, "egressBurst": 0}),
        ] {
            assert_eq!(read(&conf).unwrap(), Bandwidth::default(), "{conf}");
        }
    }

    #[test]
    fn bursts_that_runtimes_send_for_none_are_none() {
        for burst in [2_147_483_647, 4_294_967_295, 34_359_738_359, 34_359_738_360, u64::MAX] {
            let conf = json!({"egressRate": u64::MAX, "egressBurst": burst});
            assert_eq!(read(&conf).unwrap().egress, limit(u64::MAX / 8, None), "{burst}");
        }
    }

    #[test]
    fn half_limits_and_wrong_values_are_named() {
        for (conf, named) in [
            (json!({"ingressRate": 8000}), "ingressRate=8000"),
            (json!({"egressBurst": 8000}), "egressBurst=8000"),
            (json!({"egressRate": 7, "egressBurst": 8000}), "egressRate=7"),
            (json!({"egressRate": -1, "egressBurst": 8000}), "egressRate=-1"),
            (json!({"egressRate": "10M", "egressBurst": 8000}), "egressRate=\"10M\""),
            (json!({"egressRate": 1.5, "egressBurst": 8000}), "egressRate=1.5"),
            (
                json!({"runtimeConfig": {"bandwidth": {"IngressRate": 9}}}),
                "runtimeConfig.bandwidth.ingressRate=9",
            ),
            (json!({"runtimeConfig": {"bandwidth": []}}), "runtimeConfig.bandwidth=[]"),
        ] {
            let error = read(&conf).unwrap_err();
            assert!(error.code() == 7 && error.to_string().contains(named), "{conf}: {error}");
        }
    }
}
