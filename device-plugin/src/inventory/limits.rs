//! Bounds of a device list: what one message to the kubelet can carry.

use prost::Message;
use prost::encoding::{encoded_len_varint, key_len};
use tripod_proto::deviceplugin::v1beta1::Device;

/// The kubelet's gRPC client reads messages up to this size (grpc-go's default) and drops the stream
/// at a larger one.
pub const MAX_LIST_BYTES: usize = 4 * 1024 * 1024;

/// Longest device id the API allows, in characters; counted in bytes here.
pub const MAX_ID: usize = 63;

/// Most containers that may share one device.
pub const MAX_COUNT: u32 = 65_535;

/// Most devices of one resource that are remembered after their nodes have gone.
pub const MAX_VANISHED: usize = 1_000;

/// Most matches one scan of one resource reads; more cannot be listed in one message.
pub const MAX_FOUND: usize = 65_536;

/// Bytes that one device with this id takes in a device list. Counted as unhealthy, the longer word, so
/// that a list which fits keeps fitting when its devices fail.
pub fn entry_size(id: &str, numa: Option<u32>) -> usize {
    let device = super::wire_device(id, false, numa);
    delimited(Device::encoded_len(&device))
}

/// Most bytes that a device with this id takes which is listed `count` times.
pub fn listed_size(id: &str, numa: Option<u32>, count: u32) -> usize {
    let longest = super::id::replica_id(id, count.saturating_sub(1), count);
    let replicas = usize::try_from(count).unwrap_or(usize::MAX);
    entry_size(&longest, numa).saturating_mul(replicas)
}

/// Fewest bytes that `devices` devices with `count` replicas each can take: ids of one character.
pub fn least_list_size(devices: usize, count: u32) -> usize {
    let replicas = usize::try_from(count).unwrap_or(usize::MAX);
    let suffix = if count > 1 { "::0" } else { "" };
    entry_size(&format!("x{suffix}"), None).saturating_mul(replicas).saturating_mul(devices)
}

fn delimited(length: usize) -> usize {
    let varint = u64::try_from(length).map_or(10, encoded_len_varint);
    key_len(1) + varint + length
}
