//! Who computes checksums of what leaves by a link: the kernel, or whatever hardware there is at last.
//!
//! By ethtool's `ioctl`: its netlink has this only since Linux 5.7, and older kernels are those that need it.

use std::io;

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use super::{Kernel, KernelError, Link};

/// `ETHTOOL_GTXCSUM` and `ETHTOOL_STXCSUM` of `linux/ethtool.h`.
const GET: u32 = 0x16;
const SET: u32 = 0x17;

/// `struct ethtool_value`.
#[repr(C)]
struct Value {
    command: u32,
    data: u32,
}

impl Kernel {
    /// Whether checksums are left to what is beneath `link`.
    pub fn offloads_checksums(&self, link: &Link) -> Result<bool, KernelError> {
        let value = ask(&link.name, Value { command: GET, data: 0 });
        let value = value.map_err(KernelError::system("ask for checksum offload of", &link.name))?;
        Ok(value.data != 0)
    }

    /// Leaves checksums to what is beneath `link`, or does not.
    pub fn offload_checksums(&self, link: &Link, on: bool) -> Result<(), KernelError> {
        let set = ask(&link.name, Value { command: SET, data: on.into() });
        set.map(drop).map_err(KernelError::system("set checksum offload of", &link.name))
    }
}

fn ask(link: &str, mut value: Value) -> io::Result<Value> {
    let socket = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    let mut request = libc::ifreq {
        ifr_name: name(link)?,
        ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_data: (&raw mut value).cast() },
    };
    ioctl(&socket, &raw mut request)?;
    Ok(value)
}

fn name(link: &str) -> io::Result<[libc::c_char; libc::IFNAMSIZ]> {
    let mut name = [0; libc::IFNAMSIZ];
    if link.len() >= name.len() {
        return Err(Errno::ENAMETOOLONG.into());
    }
    for (to, from) in name.iter_mut().zip(link.bytes()) {
        *to = libc::c_char::from_ne_bytes([from]);
    }
    Ok(name)
}

#[expect(unsafe_code, reason = "no crate has this request")]
fn ioctl(socket: &impl std::os::fd::AsRawFd, request: *mut libc::ifreq) -> io::Result<()> {
    // SAFETY: for SIOCETHTOOL the kernel reads an `ifreq` and reads and writes the `ethtool_value` that it
    // points to. Both are the caller's, and live until it returns.
    let answer = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL, request) };
    Errno::result(answer).map(drop).map_err(io::Error::from)
}
