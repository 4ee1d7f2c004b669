//! Requests to an `:authority` that is none.
//!
//! The kubelet's plugin watcher dials a bare path, and grpc-go then sends that path, percent-encoded, as
//! `:authority`. Rust's HTTP/2 server takes it for a broken request and resets the stream. Here the value
//! is replaced, on its way in, by one of the same length, so that no length around it changes. The peer's
//! and our header tables count entries from the newest, so an entry that is shorter with us only stays
//! longer than the peer will ever refer to it.

mod header_block;

use header_block::{Value, authority};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FRAME_HEAD: usize = 9;
const HEADERS: u8 = 1;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;
/// No peer may send larger frames unless it is told that it may, and it is not.
const MAX_FRAME: usize = 16_384;
/// The six bits by which `%` begins a Huffman-coded value.
const CODED_PERCENT: u8 = 0b01_0101;
const HUFFMAN: u8 = 0x80;
const FILLER: u8 = b'x';

/// What comes in on one connection, up to its first request.
#[derive(Debug)]
pub(super) struct Rewriter(State);

#[derive(Debug)]
enum State {
    /// So many bytes of the preface have come.
    Preface(usize),
    /// The head of a frame, as far as it has come.
    Head(Vec<u8>),
    /// A frame that does not matter, of which so many bytes are to come.
    Payload(usize),
    /// The first request, and how many of its bytes are to come.
    Request(Vec<u8>, usize),
    /// Nothing is looked at any more.
    Through,
}

impl Rewriter {
    pub(super) fn new() -> Rewriter {
        Rewriter(State::Preface(0))
    }

    /// Whether what comes now passes as it is, and nothing is held back.
    pub(super) fn is_through(&self) -> bool {
        matches!(self.0, State::Through)
    }

    /// Takes `bytes` in, and appends to `out` what may go on.
    pub(super) fn push(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) {
        while !bytes.is_empty() {
            bytes = self.step(bytes, out);
        }
    }

    /// Appends to `out` what was held back: nothing more will come.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) {
        match std::mem::replace(&mut self.0, State::Through) {
            State::Head(held) | State::Request(held, _) => out.extend(held),
            State::Preface(_) | State::Payload(_) | State::Through => {}
        }
    }

    /// Takes in as much of `bytes` as belongs together, and returns the rest.
    fn step<'a>(&mut self, bytes: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
        match &mut self.0 {
            State::Preface(seen) => {
                let (part, rest) = split(bytes, PREFACE.len() - *seen);
                let expected = PREFACE.iter().skip(*seen);
                out.extend(part);
                *seen += part.len();
                if !part.iter().eq(expected.take(part.len())) {
                    self.0 = State::Through;
                } else if *seen == PREFACE.len() {
                    self.0 = State::Head(Vec::new());
                }
                rest
            }
            State::Head(head) => {
                let (part, rest) = split(bytes, FRAME_HEAD - head.len());
                head.extend(part);
                if head.len() == FRAME_HEAD {
                    self.0 = begin(std::mem::take(head), out);
                }
                rest
            }
            State::Payload(left) => {
                let (part, rest) = split(bytes, *left);
                out.extend(part);
                *left -= part.len();
                if *left == 0 {
                    self.0 = State::Head(Vec::new());
                }
                rest
            }
            State::Request(frame, left) => {
                let (part, rest) = split(bytes, *left);
                frame.extend(part);
                *left -= part.len();
                if *left == 0 {
                    rewrite(frame);
                    self.finish(out);
                }
                rest
            }
            State::Through => {
                out.extend(bytes);
                &[]
            }
        }
    }
}

fn split(bytes: &[u8], at: usize) -> (&[u8], &[u8]) {
    bytes.split_at_checked(at).unwrap_or((bytes, &[]))
}

/// What follows the frame's `head`, which goes on at once unless a request begins with it.
fn begin(head: Vec<u8>, out: &mut Vec<u8>) -> State {
    let [a, b, c, kind, ..] = head[..] else { return State::Through };
    let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
    if kind == HEADERS && 0 < length && length <= MAX_FRAME {
        return State::Request(head, length);
    }
    out.extend(head);
    match (kind, length) {
        (HEADERS, _) => State::Through,
        (_, 0) => State::Head(Vec::new()),
        (_, length) => State::Payload(length),
    }
}

/// Replaces the value of `:authority` in a HEADERS frame, where it begins with a percent sign. What does
/// not make sense stays as it is: the server behind will say so.
fn rewrite(frame: &mut [u8]) {
    let flags = frame.get(4).copied().unwrap_or_default();
    let Some(payload) = frame.get_mut(FRAME_HEAD..) else { return };
    let mut begin = 0;
    let mut padding = 0;
    if flags & PADDED != 0 {
        padding = payload.first().copied().map_or(0, usize::from);
        begin += 1;
    }
    if flags & PRIORITY != 0 {
        begin += 5;
    }
    let end = payload.len().saturating_sub(padding);
    let Some(block) = payload.get_mut(begin..end) else { return };
    let Some(Value { prefix, begin, end }) = authority(block) else { return };
    let coded = block.get(prefix).is_some_and(|byte| byte & HUFFMAN != 0);
    let first = block.get(begin).copied().unwrap_or_default();
    if first == b'%' && !coded || first >> 2 == CODED_PERCENT && coded {
        if let Some(value) = block.get_mut(begin..end) {
            value.fill(FILLER);
        }
        if let Some(byte) = block.get_mut(prefix) {
            *byte &= !HUFFMAN;
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What grpc-go 1.82 sends for GetInfo and NotifyRegistrationStatus, the calls and deadlines of a
    /// kubelet, to the path `/var/lib/kubelet/plugins_registry/tripod-0123abcd-89efcdab-reg.sock`.
    const FROM_GO: &str = "\
        505249202a20485454502f322e300d0a0d0a534d0d0a0d0a00000004000000000000000004010000000000008f\
        0104000000018386459c62ba2d98d558598c84d83498f52fb4b31909b06931ea63115392a94f41b754587b8ec5\
        45868346a8b0f5b632d054aa2c35d16cc6a91158598c84d9e951614d86acf22c008991c6491679f2ca49071ad6\
        1665d072755f8b1d75d0620d263d4c4d65647a8a9acac8b4c7602bbc25c340027465864d833505b11f40899aca\
        c8b24d494f6a7f867df7df0b76ff000005000100000001000000000000000806010000000002041010090e0707\
        0000040800000000000000001800000806000000000002041010090e0707000039010400000003838645a862ba\
        2d98d558598c84d83498f52fb4b31909b06931ea6349d2697d6d2cc6426c1a4c7ab72469b51fc3c2c1c07f0086\
        69f7dc101eb70000070001000000030000000002080100000806010000000002041010090e0707000004080000\
        0000000000000500000806000000000002041010090e07070000210700000000000000000300000000636c6965\
        6e74207472616e73706f72742073687574646f776e";

    pub(in crate::registration) fn from_go() -> Vec<u8> {
        let digits = FROM_GO.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
        digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
    }

    fn rewritten<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
        let (mut rewriter, mut out) = (Rewriter::new(), Vec::new());
        for chunk in chunks {
            rewriter.push(chunk, &mut out);
        }
        rewriter.finish(&mut out);
        out
    }

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
    }

    fn request(flags: u8, block: &[u8]) -> Vec<u8> {
        [PREFACE, &frame(4, 0, &[]), &frame(HEADERS, flags, block)].concat()
    }

    #[test]
    fn what_a_kubelet_sends_gets_another_authority_and_is_the_same_otherwise() {
        let sent = from_go();
        let passed = rewritten([&sent[..]]);
        let changed: Vec<_> = (0..sent.len()).filter(|&at| sent[at] != passed[at]).collect();
        let (first, last) = (changed[0], *changed.last().unwrap());
        assert_eq!(sent[first - 1..=first], [0x41, 0xb7], "the field's name and 55 coded bytes");
        assert_eq!(passed[first], 0x37, "as many that are not coded");
        assert_eq!(last, first + 55);
        assert!(passed[first + 1..=last].iter().all(|&byte| byte == FILLER));
        assert_eq!((passed.len(), &passed[last + 1..]), (sent.len(), &sent[last + 1..]));
    }

    #[test]
    fn a_value_that_is_not_coded_is_replaced_too_behind_padding_and_priority() {
        let block = b"\x83\x00\x01a\x01b\x41\x05%2Ftm\x86";
        let plain = b"\x83\x00\x01a\x01b\x41\x05xxxxx\x86";
        let padded = |block: &[u8]| [&[2, 0, 0, 0, 0, 9][..], block, &[0, 0]].concat();
        assert_eq!(rewritten([&request(4, block)[..]]), request(4, plain));
        assert_eq!(rewritten([&request(0x2c, &padded(block))[..]]), request(0x2c, &padded(plain)));
    }

    #[test]
    fn a_sound_authority_and_whatever_follows_the_first_request_stay() {
        let coded = b"\x83\x41\x86\xa0\xe4\x1d\x13\x9d\x09\x86";
        let second = frame(HEADERS, 4, b"\x41\x05%2Ftm");
        for first in [&coded[..], b"\x41\x09localhost", b"\x83"] {
            let sent = [request(4, first), second.clone()].concat();
            assert_eq!(rewritten([&sent[..]]), sent);
        }
    }

    #[test]
    fn a_block_that_ends_too_soon_stays() {
        for block in [&b"\x41\x09%2F"[..], b"\x41", b"\x41\x7f", b"\x41\x7f\xff\xff\xff\xff", b"\x00\x01"] {
            let sent = request(4, block);
            assert_eq!(rewritten([&sent[..]]), sent);
        }
    }

    proptest! {
        #[test]
        fn nothing_panics_grows_or_gets_lost(noise in proptest::collection::vec(any::<u8>(), 0..400), keep in 0..200_usize) {
            let mut sent = from_go();
            sent.splice(keep.min(sent.len()).., noise);
            prop_assert_eq!(rewritten([&sent[..]]).len(), sent.len());
        }

        #[test]
        fn what_is_no_such_request_is_not_changed(
            frames in proptest::collection::vec((2_u8..12, any::<u8>(), proptest::collection::vec(any::<u8>(), 0..60)), 0..6),
            noise in proptest::collection::vec(any::<u8>(), 0..100),
        ) {
            let frames: Vec<_> = frames.into_iter().flat_map(|(kind, flags, payload)| frame(kind, flags, &payload)).collect();
            let sent = [PREFACE, &frames].concat();
            prop_assert_eq!(&rewritten([&sent[..]]), &sent);
            prop_assume!(!noise.starts_with(&PREFACE[..1]));
            prop_assert_eq!(&rewritten([&noise[..]]), &noise);
        }

        #[test]
        fn it_does_not_matter_how_the_bytes_arrive(size in 1..80_usize) {
            let sent = from_go();
            prop_assert_eq!(rewritten(sent.chunks(size)), rewritten([&sent[..]]));
        }
    }
}
