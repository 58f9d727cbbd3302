/// The candidate that is the longest suffix of `name` by whole labels: the zone that a name is in.
///
/// All are written lower case and without a dot at the end. `None` when no candidate is one; of equals the first.
///
/// ```
/// let zones = ["example.com", "dev.example.com"];
/// assert_eq!(dns::longest_suffix("_acme-challenge.a.dev.example.com", zones), Some("dev.example.com"));
/// assert_eq!(dns::longest_suffix("adev.example.com", zones), Some("example.com"));
/// assert_eq!(dns::longest_suffix("badexample.com", zones), None);
/// ```
pub fn longest_suffix<'z, Z: AsRef<str> + ?Sized + 'z>(
    name: &str,
    zones: impl IntoIterator<Item = &'z Z>,
) -> Option<&'z Z> {
    let mut best: Option<&Z> = None;
    for zone in zones {
        let longer = best.is_none_or(|best| zone.as_ref().len() > best.as_ref().len());
        if longer && is_within(name, zone.as_ref()) {
            best = Some(zone);
        }
    }
    best
}

/// Whether `name` is `zone` or below it.
pub(crate) fn is_within(name: &str, zone: &str) -> bool {
    match name.strip_suffix(zone) {
        _ if zone.is_empty() => false,
        Some(rest) => rest.is_empty() || rest.ends_with('.'),
        None => false,
    }
}

/// The labels of `name` below `zone`, without the dot between; `None` at the zone itself or outside of it.
pub(crate) fn below<'n>(name: &'n str, zone: &str) -> Option<&'n str> {
    let rest = name.strip_suffix(zone)?.strip_suffix('.')?;
    (!rest.is_empty()).then_some(rest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// By label lists, trying every zone.
    fn oracle(name: &str, zones: &[String]) -> Option<usize> {
        let labels = |text: &str| text.split('.').map(str::to_owned).collect::<Vec<_>>();
        zones.iter().map(|it| labels(it).len()).enumerate().fold(None, |best, (at, length)| {
            let longer = best.is_none_or(|best: usize| length > labels(&zones[best]).len());
            (labels(name).ends_with(&labels(&zones[at])) && longer).then_some(at).or(best)
        })
    }

    proptest! {
        #[test]
        fn the_longest_by_labels(
            name in "[ab]{1,2}(\\.[ab]{1,2}){0,4}",
            zones in prop::collection::vec("[ab]{1,2}(\\.[ab]{1,2}){0,3}", 0..8),
        ) {
            let found = longest_suffix(&name, &zones).map(String::as_str);
            prop_assert_eq!(found, oracle(&name, &zones).map(|at| zones[at].as_str()));
        }
    }
}
