use proptest::prelude::*;

use super::*;

/// One message as the kernel sends it.
fn message(kind: u16, flags: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
    let mut datagram = Vec::new();
    Request { kind, flags, body: body.to_vec() }.frame(sequence, &mut datagram);
    datagram.resize(datagram.len().next_multiple_of(4), 0);
    datagram
}

fn code(kind: u16, code: i32) -> Vec<u8> {
    message(kind, 0, 1, &code.to_ne_bytes())
}

/// What `datagrams` end in as answers to request number 1, and whether they end.
fn collect(datagrams: &[Vec<u8>]) -> (Collected, Option<io::Result<()>>) {
    let mut collected = Collected::default();
    let end = datagrams.iter().find_map(|datagram| match collected.add(datagram, 1, &|_| true) {
        ControlFlow::Break(end) => Some(end),
        ControlFlow::Continue(()) => None,
    });
    (collected, end)
}

#[test]
fn a_request_has_the_layout_of_the_header_file() {
    let mut datagram = Vec::new();
    let attributes = Attributes::new().bytes(3, &[7]);
    Request::new(0x12, NLM_F_ACK, &[1, 2, 3, 4], &attributes).frame(9, &mut datagram);
    let expected = [28, 0, 0, 0, 0x12, 0, 5, 0, 9, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 0, 3, 0, 7, 0, 0, 0];
    assert_eq!(datagram, expected);
}

#[test]
fn a_refusal_is_told_from_an_acknowledgement() {
    let refusal = |datagram: &[u8]| Messages(datagram).find_map(|message| message.refusal());
    let datagram = [code(NLMSG_ERROR, 0), code(NLMSG_ERROR, -17), code(NLMSG_ERROR, -2)].concat();
    assert_eq!(refusal(&datagram).unwrap().raw_os_error(), Some(17));
    assert!(refusal(&code(NLMSG_ERROR, 0)).is_none());
    assert!(refusal(&[0; 40]).is_none());
    assert!(refusal(&code(NLMSG_ERROR, -1)[..18]).is_none());
    assert!(refusal(&code(16, -1)).is_none());
}

#[test]
fn an_answer_ends_where_the_kernel_says_so() {
    let single = message(16, 0, 1, b"link");
    let part = message(16, NLM_F_MULTI, 1, b"part");
    let stale = message(16, 0, 7, b"old ");
    let (found, end) = collect(&[stale.clone(), [stale, single.clone()].concat()]);
    assert!(matches!(end, Some(Ok(()))));
    assert_eq!(found.answers, single);
    let (found, end) = collect(&[[part.clone(), part.clone()].concat(), part.clone()]);
    assert!(end.is_none(), "more is to come");
    assert_eq!(Messages(&found.answers).count(), 3);
    let done = message(NLMSG_DONE, NLM_F_MULTI, 1, &0i32.to_ne_bytes());
    let (found, end) = collect(&[part.clone(), done]);
    assert!(matches!(end, Some(Ok(()))) && !found.interrupted);
    assert_eq!(found.answers, part);
    assert!(matches!(collect(&[code(NLMSG_ERROR, 0)]).1, Some(Ok(()))));
}

#[test]
fn a_dump_may_end_in_an_error_or_be_interrupted() {
    let part = message(16, NLM_F_MULTI | NLM_F_DUMP_INTR, 1, b"part");
    let failed = message(NLMSG_DONE, NLM_F_MULTI, 1, &(-12i32).to_ne_bytes());
    let (found, end) = collect(&[part, failed]);
    assert_eq!(end.unwrap().unwrap_err().raw_os_error(), Some(12));
    assert!(found.interrupted);
    let done = message(NLMSG_DONE, NLM_F_MULTI | NLM_F_DUMP_INTR, 1, &0i32.to_ne_bytes());
    assert!(collect(&[done]).0.interrupted);
}

proptest! {
    #[test]
    fn whatever_was_framed_is_found_again(
        bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..9),
    ) {
        let framed = bodies.iter().map(|body| message(16, NLM_F_MULTI, 1, body));
        let (found, end) = collect(&framed.collect::<Vec<_>>());
        prop_assert!(end.is_none());
        let read: Vec<_> = Messages(&found.answers).map(|message| message.body().to_vec()).collect();
        prop_assert_eq!(read, bodies);
    }

    #[test]
    fn any_bytes_are_read_to_an_end(mut bytes in prop::collection::vec(any::<u8>(), 0..300), first: u8) {
        prop_assert!(Messages(&bytes).count() <= bytes.len() / NLMSGHDR);
        // A length that may fit lets more of it be read.
        for (place, byte) in bytes.iter_mut().zip([first, 0, 0, 0]) {
            *place = byte;
        }
        for message in Messages(&bytes) {
            prop_assert!(message.attributes(4).count() <= bytes.len());
        }
        let (found, _) = collect(&[bytes.clone()]);
        prop_assert!(found.answers.len() <= bytes.len().next_multiple_of(4));
    }
}
