//! Tests of the request parser.

use bytes::{Bytes, BytesMut};
use proptest::collection::vec;
use proptest::prelude::{Strategy, any, prop_assert_eq, prop_oneof, proptest};
use proptest::sample::select;

use super::{Parser, ProtocolError, RequestLimits};

/// What arrives, and the requests in it.
type Case<'a> = (&'a [u8], &'a [&'a [&'a [u8]]]);
/// Requests, and what was wrong then.
type Parsed = (Vec<Vec<Bytes>>, Option<ProtocolError>);

/// What is parsed of reads that end at these places.
fn parsed(input: &[u8], cuts: &[usize], limits: &RequestLimits) -> Parsed {
    let (mut parser, mut buffer, mut requests) = (Parser::new(), BytesMut::new(), Vec::new());
    let ends = cuts.iter().copied().filter(|cut| *cut < input.len()).chain([input.len()]);
    let mut start = 0;
    for end in ends.filter(|end| *end > 0) {
        if end <= start {
            continue;
        }
        buffer.extend_from_slice(&input[start..end]);
        start = end;
        loop {
            match parser.next(&mut buffer, limits) {
                Ok(Some(request)) => requests.push(request),
                Ok(None) => break,
                Err(error) => return (requests, Some(error)),
            }
        }
    }
    (requests, None)
}

fn at_once(input: &[u8]) -> Parsed {
    parsed(input, &[], &RequestLimits::default())
}

fn requests(expected: &[&[&[u8]]]) -> Vec<Vec<Bytes>> {
    expected
        .iter()
        .map(|request| request.iter().map(|word| Bytes::copy_from_slice(word)).collect())
        .collect()
}

fn encoded(request: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", request.len()).into_bytes();
    for argument in request {
        bytes.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
        bytes.extend_from_slice(argument);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

#[test]
fn what_is_accepted() {
    let nothing: [&[u8]; 8] =
        [b"", b"\r\n", b"\n", b" \t\r\n", b"*0\r\n", b"*-1\r\n", b"*-10\r\n", b"*1\n$4\nPING\n"];
    for input in nothing {
        assert_eq!(at_once(input), (vec![], None), "{}", input.escape_ascii());
    }
    let cases: [Case<'_>; 8] = [
        (b"PING\n", &[&[b"PING"]]),
        (b"SET k \"\\x41\\n\"\r\n", &[&[b"SET", b"k", b"A\n"]]),
        (b"'a\\'b'\r\n", &[&[b"a'b"]]),
        (b"*1\r\n$0\r\n\r\n", &[&[b""]]),
        (b"*2\r\n$3\r\nGET\r\n$2\r\n\r\n\r\n", &[&[b"GET", b"\r\n"]]),
        (b"*0\r\n\r\n*1\r\n$4\r\nPING\r\nPING\r\n*-1\r\n", &[&[b"PING"], &[b"PING"]]),
        (b"*1\r\n$536870912\r\nabc", &[]),
        (
            b"GET / HTTP/2\r\nposts\r\nhost\r\n",
            &[&[b"GET", b"/", b"HTTP/2"], &[b"posts"], &[b"host"]],
        ),
    ];
    for (input, expected) in cases {
        assert_eq!(at_once(input), (requests(expected), None), "{}", input.escape_ascii());
    }
}

#[test]
fn what_is_refused() {
    use ProtocolError::{
        AnotherProtocol, ExpectedLength, ExpectedLineEnd, InvalidCount, InvalidLength,
        UnbalancedQuotes,
    };
    let cases: [(&[u8], ProtocolError); 26] = [
        (b"SET \"a\r\n", UnbalancedQuotes),
        (b"SET 'a'b\r\n", UnbalancedQuotes),
        (b"*\r\n", InvalidCount),
        (b"*abc\r\n", InvalidCount),
        (b"*+1\r\n", InvalidCount),
        (b"*01\r\n", InvalidCount),
        (b"* 1\r\n", InvalidCount),
        (b"*-0\r\n", InvalidCount),
        (b"*1048577\r\n", InvalidCount),
        (b"*2147483648\r\n", InvalidCount),
        (b"*99999999999999999999\r\n", InvalidCount),
        (b"*1\rx", InvalidCount),
        (b"*1\r\n$\r\n", InvalidLength),
        (b"*1\r\n$abc\r\n", InvalidLength),
        (b"*1\r\n$-1\r\n", InvalidLength),
        (b"*1\r\n$01\r\n", InvalidLength),
        (b"*1\r\n$536870913\r\n", InvalidLength),
        (b"*1\r\n$1\rx", InvalidLength),
        (b"*1\r\nfoo\r\n", ExpectedLength(b'f')),
        (b"*1\r\n:1\r\n", ExpectedLength(b':')),
        (b"*2\r\n$1\r\na\r\n\r\n", ExpectedLength(b'\r')),
        (b"*1\r\n$1\r\nabc", ExpectedLineEnd),
        (b"POST / HTTP/1.1\r\n", AnotherProtocol),
        (b"*1\r\n$4\r\npOsT\r\n", AnotherProtocol),
        (b"hOST: localhost\r\n", AnotherProtocol),
        (b"GET / HTTP/1.1\r\n", AnotherProtocol),
    ];
    for (input, expected) in cases {
        let behind = [input, b"\r\nPING\r\n"].concat();
        assert_eq!(at_once(&behind), (vec![], Some(expected)), "{}", input.escape_ascii());
        let before = [b"PING\r\n", input].concat();
        let bytewise: Vec<usize> = (1..before.len()).collect();
        let found = parsed(&before, &bytewise, &RequestLimits::default());
        assert_eq!(found, (requests(&[&[b"PING"]]), Some(expected)), "{}", input.escape_ascii());
    }
}

#[test]
fn lines_that_do_not_end_are_refused_and_long_ones_that_do_are_not() {
    use ProtocolError::{CountLineTooLong, InvalidCount, LengthLineTooLong, LineTooLong};
    for (head, error) in
        [("", LineTooLong), ("*", CountLineTooLong), ("*1\r\n$", LengthLineTooLong)]
    {
        let bytes = [head.as_bytes(), &vec![b'1'; 70_000][..]].concat();
        assert_eq!(at_once(&bytes), (vec![], Some(error)));
        let cut = [head.len() + 65_000];
        assert_eq!(parsed(&bytes[..65_500], &cut, &RequestLimits::default()), (vec![], None));
        let found = parsed(&bytes, &[65_500], &RequestLimits::default());
        assert_eq!(found, (vec![], Some(error)));
    }
    let line = vec![b'a'; 100_000];
    assert_eq!(at_once(&[&line[..], b"\n"].concat()), (requests(&[&[&line]]), None));
    assert_eq!(at_once(&[b"*", &line[..], b"\r\n"].concat()), (vec![], Some(InvalidCount)));
}

#[test]
fn a_stranger_may_send_little() {
    use ProtocolError::{InvalidCount, StrangersCount, StrangersLength, TooMuchWaits};
    let limits = RequestLimits::default().before_login();
    let cases: [(&[u8], Option<ProtocolError>); 6] = [
        (b"*10\r\n", None),
        (b"*11\r\n", Some(StrangersCount)),
        (b"*2147483648\r\n", Some(InvalidCount)),
        (b"*1\r\n$16384\r\n", None),
        (b"*1\r\n$16385\r\n", Some(StrangersLength)),
        (&[b'\n'; (1 << 20) + 1], Some(TooMuchWaits)),
    ];
    for (input, expected) in cases {
        assert_eq!(parsed(input, &[], &limits), (vec![], expected));
    }
}

#[test]
fn arguments_are_limited_together() {
    let limits = RequestLimits { request_bytes_max: 10, ..RequestLimits::default() };
    let input = b"*2\r\n$4\r\nPING\r\n$6\r\n123456\r\n*2\r\n$4\r\nPING\r\n$7\r\n";
    let found = parsed(input, &[], &limits);
    let expected = requests(&[&[b"PING", b"123456"]]);
    assert_eq!(found, (expected, Some(ProtocolError::RequestTooLong)));
}

#[test]
fn what_is_announced_costs_nothing() {
    let (mut parser, limits) = (Parser::new(), RequestLimits::default());
    let mut buffer = BytesMut::from(&b"*1048576\r\n$536870912\r\nabc"[..]);
    assert_eq!(parser.next(&mut buffer, &limits), Ok(None));
    assert!(buffer.capacity() <= 64 << 10, "{} bytes", buffer.capacity());
    assert!(parser.spans.capacity() <= 16);
}

#[test]
fn a_long_argument_is_collected_with_few_moves() {
    const LEN: usize = 8 << 20;
    let (mut parser, limits) = (Parser::new(), RequestLimits::default());
    let mut buffer = BytesMut::from(format!("*1\r\n${LEN}\r\n").as_bytes());
    let (mut capacities, mut left) = (Vec::new(), LEN);
    while left > 0 {
        assert_eq!(parser.next(&mut buffer, &limits), Ok(None));
        capacities.push(buffer.capacity());
        let len = left.min(16 << 10);
        buffer.extend_from_slice(&vec![b'x'; len]);
        left -= len;
    }
    capacities.dedup();
    assert!(capacities.len() < 16, "{capacities:?}");
    buffer.extend_from_slice(b"\r\n");
    let request = parser.next(&mut buffer, &limits).unwrap().unwrap();
    assert_eq!(request, [vec![b'x'; LEN]]);
    assert!(buffer.is_empty() && !parser.is_inside(&buffer));
}

fn stream() -> impl Strategy<Value = Vec<u8>> {
    let request = vec(vec(any::<u8>(), 0..20), 1..6).prop_map(|request| encoded(&request));
    let lines = ["PING\r\n", "\r\n", "*0\r\n", "a 'b c' \"\\x00\"\n"];
    let piece = prop_oneof![
        4 => request,
        1 => select(lines.to_vec()).prop_map(|line| line.as_bytes().to_vec()),
        1 => "[*$:a-z0-9'\"\r\n ]{0,8}".prop_map(String::into_bytes),
    ];
    vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn how_bytes_arrive_makes_no_difference(
        input in stream(),
        mut cuts in vec(0_usize..400, 0..20),
    ) {
        cuts.sort_unstable();
        let defaults = RequestLimits::default();
        let limits = RequestLimits { arguments_max: 50, argument_bytes_max: 500, ..defaults };
        prop_assert_eq!(parsed(&input, &cuts, &limits), parsed(&input, &[], &limits));
        let bytewise: Vec<usize> = (1..input.len()).collect();
        prop_assert_eq!(parsed(&input, &bytewise, &limits), parsed(&input, &[], &limits));
    }

    #[test]
    fn what_was_encoded_is_parsed(sent in vec(vec(vec(any::<u8>(), 0..100), 1..8), 0..20)) {
        let bytes: Vec<u8> = sent.iter().flat_map(|request| encoded(request)).collect();
        let (found, error) = at_once(&bytes);
        prop_assert_eq!(error, None);
        prop_assert_eq!(found, sent);
    }

    #[test]
    fn garbage_never_panics(input in vec(any::<u8>(), 0..300)) {
        at_once(&input);
    }
}
