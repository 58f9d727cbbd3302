//! The commands about the history.

use api::types::{HistoryDetail, HistoryList, RolledBack, Written};
use http::Method;

use crate::arguments::{self, History};
use crate::client::segment;
use crate::commands::{Session, query};
use crate::failure::Failure;
use crate::tables;

/// How many entries are asked for at once.
const PAGE: usize = 500;

impl Session<'_> {
    pub(crate) async fn history(&self, command: History) -> Result<(), Failure> {
        match command {
            History::List { host, collection, id, limit } => {
                let named = [("host", host), ("collection", collection), ("id", id)];
                let named = named.into_iter().filter_map(|(name, value)| Some((name, value?)));
                let filter: String =
                    named.map(|(name, value)| format!("&{name}={}", segment(&value))).collect();
                self.list_history(&filter, limit).await
            }
            History::Show { number } => {
                let path = format!("/api/history/{number}");
                let detail: HistoryDetail = self.client()?.get(&path).await?;
                self.answer(&detail, tables::event)
            }
            History::Rollback { number, force, write } => {
                self.roll_back(number, force, &write).await
            }
        }
    }

    async fn list_history(&self, filter: &str, limit: usize) -> Result<(), Failure> {
        let client = self.client()?;
        let mut all = HistoryList { results: Vec::new(), next: None };
        while all.results.len() < limit {
            let some = (limit - all.results.len()).min(PAGE);
            let after = all.next.take().map(|next| format!("&after={next}")).unwrap_or_default();
            let path = format!("/api/history?limit={some}{filter}{after}");
            let page: HistoryList = client.get(&path).await?;
            all.results.extend(page.results);
            all.next = page.next;
            if all.next.is_none() {
                break;
            }
        }
        self.answer(&all, |all| tables::events(&all.results))
    }

    async fn roll_back(
        &self,
        number: u64,
        force: bool,
        write: &arguments::Write,
    ) -> Result<(), Failure> {
        let mut path = format!("/api/history/{number}/rollback{}", query(write));
        if force {
            path += if path.contains('?') { "&force=true" } else { "?force=true" };
        }
        let body = self.client()?.send(Method::POST, &path, None).await?;
        let written: Written<RolledBack> = serde_json::from_slice(&body)?;
        let name = format!("{} {}", written.record.collection, written.record.id);
        let done = if write.dry_run { "could be brought back" } else { "is as it was" };
        self.written(&written, &name, &format!("{done} before {number}"))
    }
}
