//! The header by which a proxy before this one says whose a connection is. The input is the beginning of a connection.

use proxy_protocol::{Header, Parsed, Version, parse, write};

/// Longer than the longest header of either version that is read.
const MAX_BYTES: usize = 4096;

pub(crate) fn run(data: &[u8]) {
    let data = &data[..data.len().min(MAX_BYTES)];
    let whole = parse(data);
    match &whole {
        Parsed::Whole { header, length } => {
            assert!(*length <= data.len());
            assert_eq!(parse(&data[..*length]), whole, "what follows is not looked at");
            if let Header::Proxied(addresses) = header {
                again(Version::V1, addresses);
                again(Version::V2, addresses);
            }
        }
        Parsed::Partial { needed } => assert!(*needed > data.len()),
        Parsed::Wrong(_) => {}
    }
    in_pieces(data, &whole);
}

/// What was read can be written by either version, and says the same.
fn again(version: Version, addresses: &proxy_protocol::Addresses) {
    let wire = write(version, addresses);
    let Parsed::Whole { header: Header::Proxied(read), length } = parse(&wire) else {
        panic!("{addresses:?} as {version:?} is {wire:?}");
    };
    assert_eq!(length, wire.len());
    for (read, meant) in
        [(read.source, addresses.source), (read.destination, addresses.destination)]
    {
        assert_eq!(read.ip().to_canonical(), meant.ip().to_canonical());
        assert_eq!(read.port(), meant.port());
    }
}

/// Bytes that come one by one are only ever too few, until it is known what the whole is.
fn in_pieces(data: &[u8], whole: &Parsed) {
    for end in 0..data.len() {
        match parse(&data[..end]) {
            Parsed::Partial { needed } => assert!(needed > end),
            early => {
                let same = match (&early, whole) {
                    (Parsed::Wrong(_), Parsed::Wrong(_)) => true,
                    (early, whole) => early == whole,
                };
                assert!(same, "{early:?} of {end} bytes, then {whole:?}");
                return;
            }
        }
    }
}
