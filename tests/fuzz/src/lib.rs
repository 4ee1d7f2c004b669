//! What must hold for any bytes at all: a configuration is read or refused, never anything else. Called
//! by the cases with chance as their source, and by the fuzzer.

/// The network configuration on standard input.
pub fn config(text: &[u8]) {
    judge(tripod_cni::parse(text));
}

/// `prevResult` in a configuration that is well otherwise.
pub fn prev_result(text: &[u8]) {
    let conf = [
        br#"{"cniVersion":"1.1.0","name":"n","ipam":{"ranges":[[{"subnet":"10.1.0.0/24"}]]},"prevResult":"#
            .as_slice(),
        text,
        b"}",
    ];
    judge(tripod_cni::parse(&conf.concat()));
}

fn judge(read: Result<(), tripod_cni::Failure>) {
    let Err(failure) = read else { return };
    assert!(matches!(failure.code, 1 | 6 | 7), "{failure:?}");
    assert!(!failure.msg.is_empty() && failure.msg.len() + failure.details.len() < 4096, "{failure:?}");
}
