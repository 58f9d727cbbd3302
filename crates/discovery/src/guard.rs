use model::Revision;

/// Of fewer hosts than this any number may go.
const FEWEST: usize = 10;

/// Why a store is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doubt {
    /// It has no epoch, as one that was wiped.
    EpochMissing,
    /// It is another store, or another life of this one.
    EpochChanged,
    /// It is this store and lacks commits that it had.
    WentBack,
    /// It lacks most hosts, and no commit took them out.
    DropsHosts,
}

impl Doubt {
    /// The word for it in metrics and reports.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::EpochMissing => "epoch_missing",
            Self::EpochChanged => "epoch_changed",
            Self::WentBack => "went_back",
            Self::DropsHosts => "drops_hosts",
        }
    }

    /// What happened, for people, between the revision of the tables and the one found.
    pub(crate) fn detail(self, kept: Option<&Revision>, found: &Revision) -> String {
        let kept = kept.map(ToString::to_string).unwrap_or_default();
        match self {
            Self::EpochMissing => {
                format!("the store has no epoch, as after a wipe; the tables are those of {kept}")
            }
            Self::EpochChanged => format!(
                "the store has another epoch: it is at {found} and the tables are those of {kept}"
            ),
            Self::WentBack => {
                format!("the store went back to {found}; the tables are those of {kept}")
            }
            Self::DropsHosts => "most hosts are gone from the store".to_owned(),
        }
    }
}

/// Whether a store that stands at `found` can be the one that the tables came from. `standing` is the doubt there is
/// already: a store that went back is not cured by further commits, which hide what it lost; one that is back at
/// our epoch with all we know is.
///
/// A store without an epoch is one that nothing of ours ever wrote to. Its first commit gives it one, which makes it no
/// other store.
pub(crate) fn judge(
    applied: Option<&Revision>,
    standing: Option<Doubt>,
    found: &Revision,
) -> Option<Doubt> {
    let applied = applied?;
    let unborn = store::unborn().epoch;
    if applied.epoch == unborn {
        return None;
    }
    if found.epoch == unborn {
        return Some(Doubt::EpochMissing);
    }
    if found.epoch != applied.epoch {
        return Some(Doubt::EpochChanged);
    }
    let went_back = found.n < applied.n || standing == Some(Doubt::WentBack);
    went_back.then_some(Doubt::WentBack)
}

/// Whether a reading of everything may not take so many hosts out of so many.
pub(crate) fn is_too_much(gone: usize, of: usize) -> bool {
    of >= FEWEST && gone * 2 > of
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_believed_while_it_goes_on() {
        use Doubt::{DropsHosts, EpochChanged, EpochMissing, WentBack};
        for (applied, standing, found, expected) in [
            (None, None, "0:0", None),
            (None, None, "b:9", None),
            (Some("a:5"), None, "a:5", None),
            (Some("a:5"), None, "a:6", None),
            (Some("a:5"), None, "a:4", Some(WentBack)),
            (Some("a:5"), None, "b:9", Some(EpochChanged)),
            (Some("a:5"), None, "0:0", Some(EpochMissing)),
            (Some("a:5"), None, "0:9", Some(EpochMissing)),
            // Never written to by us, and then it was.
            (Some("0:0"), None, "0:0", None),
            (Some("0:0"), None, "a:1", None),
            // What stands and what does not.
            (Some("a:5"), Some(WentBack), "a:9", Some(WentBack)),
            (Some("a:5"), Some(WentBack), "b:9", Some(EpochChanged)),
            (Some("a:5"), Some(EpochMissing), "b:1", Some(EpochChanged)),
            (Some("a:5"), Some(EpochChanged), "a:5", None),
            (Some("a:5"), Some(EpochMissing), "a:4", Some(WentBack)),
            (Some("a:5"), Some(DropsHosts), "a:6", None),
        ] {
            let parse = |text: &str| text.parse::<Revision>().unwrap();
            let applied_at = applied.map(parse);
            let judged = judge(applied_at.as_ref(), standing, &parse(found));
            assert_eq!(judged, expected, "{applied:?} {standing:?} {found}");
        }
    }

    #[test]
    fn more_than_half_of_at_least_ten_is_too_much() {
        for (gone, of, expected) in [
            (9, 9, false),
            (5, 10, false),
            (6, 10, true),
            (10, 10, true),
            (6, 12, false),
            (0, 0, false),
        ] {
            assert_eq!(is_too_much(gone, of), expected, "{gone} of {of}");
        }
    }
}
