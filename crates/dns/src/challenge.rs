use crate::{Error, Resolver};

/// How many CNAMEs are followed. Resolvers give up at about as many.
const MAX_CNAMES: usize = 8;

/// The name at which the TXT value for `name` belongs: `_acme-challenge.<name>`, or where its CNAMEs lead.
///
/// A CNAME there is how somebody delegates proofs to a zone that a gateway may write, without rights in the zone of the name
/// itself; the authority follows it just so. `*.x` and `x` have the same challenge name.
///
/// # Errors
/// [`Error::Refused`] when the chain is a loop or too long: nobody can follow it. [`Error::Unreachable`] when a resolver does
/// not answer: to guess that there is no CNAME would cost a failed validation, of which authorities allow few.
pub async fn challenge_target(resolver: &Resolver, name: &str) -> Result<String, Error> {
    follow(&challenge_name(name), async |name| resolver.cname(name).await).await
}

/// `_acme-challenge.<name>`, the wildcard label dropped (RFC 8555 §8.4): lower case, no dot at the end.
pub fn challenge_name(name: &str) -> String {
    let name = name.strip_prefix("*.").unwrap_or(name);
    let name = name.strip_suffix('.').unwrap_or(name);
    format!("_acme-challenge.{}", name.to_ascii_lowercase())
}

async fn follow(
    start: &str,
    mut cname: impl AsyncFnMut(&str) -> Result<Option<String>, Error>,
) -> Result<String, Error> {
    let mut seen = vec![start.to_owned()];
    let mut at = start.to_owned();
    while let Some(next) = cname(&at).await? {
        if seen.contains(&next) {
            return Err(refused(format!("the CNAMEs of {start} lead back to {next}")));
        }
        if seen.len() > MAX_CNAMES {
            return Err(refused(format!("more than {MAX_CNAMES} CNAMEs from {start}")));
        }
        seen.push(next.clone());
        at = next;
    }
    Ok(at)
}

fn refused(message: String) -> Error {
    Error::Refused { provider: "DNS", message }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_shares_the_name_of_its_parent() {
        assert_eq!(challenge_name("*.Example.com"), "_acme-challenge.example.com");
        assert_eq!(challenge_name("example.com."), "_acme-challenge.example.com");
    }

    #[tokio::test]
    async fn cnames_are_followed_to_their_end_and_no_further() {
        let table = |pairs: Vec<(String, String)>| {
            async move |name: &str| {
                Ok(pairs.iter().find(|(from, _)| from == name).map(|(_, to)| to.clone()))
            }
        };
        let chain = |n: usize| (0..n).map(|i| (format!("n{i}"), format!("n{}", i + 1))).collect();
        assert_eq!(follow("n0", table(chain(0))).await.unwrap(), "n0");
        assert_eq!(follow("n0", table(chain(2))).await.unwrap(), "n2");
        assert_eq!(follow("n0", table(chain(MAX_CNAMES))).await.unwrap(), "n8");
        let long = follow("n0", table(chain(MAX_CNAMES + 1))).await.unwrap_err();
        assert_eq!(long.to_string(), "DNS refuses: more than 8 CNAMEs from n0");
        let mut circle: Vec<_> = chain(2);
        circle.push(("n2".into(), "n1".into()));
        let error = follow("n0", table(circle)).await.unwrap_err();
        assert_eq!(error.to_string(), "DNS refuses: the CNAMEs of n0 lead back to n1");
    }
}
