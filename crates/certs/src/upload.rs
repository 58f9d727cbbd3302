use model::{CertRecord, CertSource, HostPattern, Secret, Timestamp};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::inspect::inspect_der;
use crate::{Inspected, provider};

/// Something that is wrong with a certificate that somebody wants to have served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// With the chain, in a sentence.
    Chain(String),
    /// With the private key, in a sentence. It shows nothing of the key.
    Key(String),
}

/// Checks a chain and a key that somebody wants to have served for a name, and makes the record of them. Everything that is
/// wrong is named, not only the first.
///
/// The leaf comes first, and every certificate is issued by the one behind it (RFC 8446 §4.4.2); it covers the name, is
/// valid now, and the key is its own, unencrypted.
///
/// # Errors
/// All faults.
pub fn check_upload(
    name: &HostPattern,
    chain_pem: &str,
    key_pem: &Secret<String>,
    now: Timestamp,
) -> Result<CertRecord, Vec<Fault>> {
    let mut faults = Vec::new();
    let chain = read_chain(chain_pem, &mut faults);
    let key = read_key(key_pem, &mut faults);
    let inspected = chain.first().and_then(|leaf| match inspect_der(name.as_str(), leaf) {
        Ok(inspected) => Some(inspected),
        Err(_) => {
            faults.push(Fault::Chain("its first certificate is not X.509".to_owned()));
            None
        }
    });
    if let Some(inspected) = &inspected {
        check_leaf(name, inspected, now, &mut faults);
        check_order(&chain, &mut faults);
    }
    if let (Some(key), false) = (key, chain.is_empty()) {
        match CertifiedKey::from_der(chain.clone(), key, &provider()) {
            Ok(_) => {}
            Err(rustls::Error::InconsistentKeys(_)) => faults.push(Fault::Key(
                "it is not the key of the first certificate of the chain".to_owned(),
            )),
            Err(error) => faults.push(Fault::Key(format!("it can't be used: {error}"))),
        }
    }
    match inspected {
        Some(Inspected { not_before, not_after, .. }) if faults.is_empty() => Ok(CertRecord {
            name: name.clone(),
            chain_pem: chain_pem.to_owned(),
            key_pem: key_pem.clone(),
            source: CertSource::Custom,
            not_before,
            not_after,
        }),
        _ => Err(faults),
    }
}

fn read_chain(pem: &str, faults: &mut Vec<Fault>) -> Vec<CertificateDer<'static>> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    match read {
        Ok(chain) if chain.is_empty() => {
            let text = "it holds no -----BEGIN CERTIFICATE----- block";
            faults.push(Fault::Chain(text.to_owned()));
            chain
        }
        Ok(chain) => chain,
        Err(error) => {
            faults.push(Fault::Chain(format!("it is not PEM: {error}")));
            Vec::new()
        }
    }
}

fn read_key(pem: &Secret<String>, faults: &mut Vec<Fault>) -> Option<PrivateKeyDer<'static>> {
    let text = pem.expose();
    if text.contains("BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED") {
        let text = "it is encrypted; decrypt it first: openssl pkey -in KEY -out PLAIN";
        faults.push(Fault::Key(text.to_owned()));
        return None;
    }
    match PrivateKeyDer::from_pem_slice(text.as_bytes()) {
        Ok(key) => Some(key),
        Err(_) => {
            faults.push(Fault::Key("it is not PEM with a private key".to_owned()));
            None
        }
    }
}

fn check_leaf(name: &HostPattern, leaf: &Inspected, now: Timestamp, faults: &mut Vec<Fault>) {
    if leaf.not_after <= now {
        faults.push(Fault::Chain(format!("its first certificate ended on {}", leaf.not_after)));
    }
    if leaf.not_before > now {
        let start = leaf.not_before;
        faults.push(Fault::Chain(format!("its first certificate is valid only from {start}")));
    }
    let name = name.as_str();
    let under = name.split_once('.').map(|(_, parent)| format!("*.{parent}"));
    let under = under.filter(|_| crate::inspect::address(name).is_none() && !name.contains('*'));
    let covered = leaf.names.iter().any(|own| own == name || Some(own) == under.as_ref());
    if !covered {
        let names =
            if leaf.names.is_empty() { "no name".to_owned() } else { leaf.names.join(", ") };
        faults.push(Fault::Chain(format!("its first certificate covers {names}, but not {name}")));
    }
}

/// That each certificate but the last was issued by the one behind it.
fn check_order(chain: &[CertificateDer<'_>], faults: &mut Vec<Fault>) {
    let read = |der: &CertificateDer<'_>| {
        let (_, cert) = X509Certificate::from_der(der).ok()?;
        Some((cert.subject().to_string(), cert.issuer().to_string()))
    };
    for (index, pair) in chain.windows(2).enumerate() {
        let number = index + 2;
        match (read(&pair[0]), read(&pair[1])) {
            (Some((_, issuer)), Some((subject, _))) if issuer == subject => {}
            (Some((_, issuer)), Some((subject, _))) => faults.push(Fault::Chain(format!(
                "certificate {number} is of \"{subject}\", but the one before it was issued by \"{issuer}\""
            ))),
            _ => faults.push(Fault::Chain(format!("certificate {number} is not X.509"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::LocalCa;

    const NOW: Timestamp = Timestamp::from_millis(1_790_000_000_000);

    fn told(faults: &[Fault]) -> String {
        format!("{faults:?}")
    }

    #[test]
    fn what_can_be_served_becomes_a_record() {
        let ca = LocalCa::generate(NOW).unwrap();
        let made = ca.issue(&"*.a.test".parse().unwrap(), NOW).unwrap();
        let chain = format!("{}{}", made.chain_pem, ca.root_pem());
        for name in ["*.a.test", "x.a.test", "a.test"] {
            let record = check_upload(&name.parse().unwrap(), &chain, &made.key_pem, NOW).unwrap();
            assert_eq!((record.source, record.name.as_str()), (CertSource::Custom, name));
            assert_eq!(record.not_after, made.not_after);
            crate::Entry::new(&record).unwrap();
        }
    }

    #[test]
    fn every_fault_is_named_at_once() {
        let ca = LocalCa::generate(NOW).unwrap();
        let (a, b) = (
            ca.issue(&"a.test".parse().unwrap(), NOW).unwrap(),
            ca.issue(&"b.test".parse().unwrap(), NOW).unwrap(),
        );
        let name = "b.test".parse().unwrap();
        let late = NOW.plus(Duration::from_secs(91 * 24 * 3600));
        let swapped = format!("{}{}", a.chain_pem, b.chain_pem);
        let faults = check_upload(&name, &swapped, &b.key_pem, late).unwrap_err();
        assert_eq!(faults.len(), 4, "{}", told(&faults));
        for part in
            ["ended on", "covers a.test, but not b.test", "certificate 2 is of", "not the key"]
        {
            assert!(told(&faults).contains(part), "{part}: {}", told(&faults));
        }
        let early = Timestamp::from_millis(NOW.as_millis() - 2 * 3_600_000);
        let faults = check_upload(&name, &b.chain_pem, &b.key_pem, early).unwrap_err();
        assert!(told(&faults).contains("valid only from"), "{}", told(&faults));
    }

    #[test]
    fn what_is_no_certificate_and_no_key_is_told_without_showing_it() {
        let name = "a.test".parse().unwrap();
        let key = Secret::new("-----BEGIN ENCRYPTED PRIVATE KEY-----\ncanary".to_owned());
        let faults = check_upload(&name, "nothing", &key, NOW).unwrap_err();
        assert!(told(&faults).contains("BEGIN CERTIFICATE"), "{}", told(&faults));
        assert!(told(&faults).contains("encrypted"), "{}", told(&faults));
        assert!(!told(&faults).contains("canary"));
        let ca = LocalCa::generate(NOW).unwrap();
        let made = ca.issue(&name, NOW).unwrap();
        let key = Secret::new("canary".to_owned());
        let faults = check_upload(&name, &made.chain_pem, &key, NOW).unwrap_err();
        assert_eq!(faults, [Fault::Key("it is not PEM with a private key".to_owned())]);
        let cut = made.chain_pem.replace("MII", "AAA");
        let faults = check_upload(&name, &cut, &made.key_pem, NOW).unwrap_err();
        assert!(told(&faults).contains("Chain"), "{}", told(&faults));
    }
}
