use certs::{Entry, KeyKind};
use model::{CertRecord, CertSource, HostPattern, Secret, Timestamp};
use rcgen::{
    CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256,
    RsaKeySize,
};

/// A new key, PEM.
pub(crate) fn generate(kind: KeyKind) -> Result<Secret<String>, rcgen::Error> {
    let key = match kind {
        KeyKind::Rsa2048 => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048),
        _ => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256),
    };
    Ok(Secret::new(key?.serialize_pem()))
}

/// Whether a kept key is still one as it is wanted.
pub(crate) fn is(key_pem: &Secret<String>, kind: KeyKind) -> bool {
    let algorithm = match kind {
        KeyKind::Rsa2048 => &PKCS_RSA_SHA256,
        _ => &PKCS_ECDSA_P256_SHA256,
    };
    KeyPair::from_pem(key_pem.expose()).is_ok_and(|key| key.is_compatible(algorithm))
}

/// A certificate request for these names, DER. The names are alternatives; there is no common name, which says nothing more.
pub(crate) fn request(key_pem: &Secret<String>, names: &[String]) -> Result<Vec<u8>, rcgen::Error> {
    let key = KeyPair::from_pem(key_pem.expose())?;
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = DistinguishedName::new();
    Ok(params.serialize_request(&key)?.der().to_vec())
}

/// The record of a chain, if the chain is what was asked for. The error says what is wrong with it.
pub(crate) fn record(
    name: &HostPattern,
    names: &[String],
    chain_pem: String,
    key_pem: Secret<String>,
    now: Timestamp,
) -> Result<CertRecord, Box<dyn std::error::Error + Send + Sync>> {
    let read = certs::inspect(name.as_str(), &chain_pem)?;
    let record = CertRecord {
        name: name.clone(),
        chain_pem,
        key_pem,
        source: CertSource::Acme,
        not_before: read.not_before,
        not_after: read.not_after,
    };
    // Checks that key and leaf are a pair, too.
    let entry = Entry::new(&record)?;
    if let Some(missing) =
        names.iter().find(|name| !entry.names().iter().any(|own| **own == ***name))
    {
        return Err(format!("it does not cover {missing}").into());
    }
    if record.not_after <= now {
        return Err(format!("it ended at {}", record.not_after).into());
    }
    Ok(record)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use certs::LocalCa;

    use super::*;

    #[test]
    fn keys_are_of_the_kind_that_was_asked_for() {
        for (kind, other) in
            [(KeyKind::EcdsaP256, KeyKind::Rsa2048), (KeyKind::Rsa2048, KeyKind::EcdsaP256)]
        {
            let key = generate(kind).unwrap();
            assert!(is(&key, kind) && !is(&key, other), "{kind:?}");
            assert!(!request(&key, &["*.a.test".into(), "a.test".into()]).unwrap().is_empty());
        }
        assert!(!is(&Secret::new(String::new()), KeyKind::EcdsaP256));
    }

    #[test]
    fn a_chain_that_was_not_asked_for_is_refused() {
        let now = Timestamp::from_millis(1_790_000_000_000);
        let ca = LocalCa::generate(now).unwrap();
        let name: HostPattern = "*.a.test".parse().unwrap();
        let made = ca.issue(&name, now).unwrap();
        let check = |names: &[&str], key: &Secret<String>, now| {
            let names: Vec<_> = names.iter().map(ToString::to_string).collect();
            record(&name, &names, made.chain_pem.clone(), key.clone(), now)
        };
        let both = ["*.a.test", "a.test"];
        assert_eq!(check(&both, &made.key_pem, now).unwrap().not_after, made.not_after);
        let other = generate(KeyKind::EcdsaP256).unwrap();
        assert!(check(&both, &other, now).is_err());
        let late = now.plus(Duration::from_secs(91 * 24 * 60 * 60));
        assert!(check(&both, &made.key_pem, late).unwrap_err().to_string().contains("ended"));
        let error = check(&["*.a.test", "b.test"], &made.key_pem, now).unwrap_err();
        assert!(error.to_string().contains("b.test"), "{error}");
    }
}
