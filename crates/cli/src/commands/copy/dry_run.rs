//! `copy --dry-run`: what there is to copy, and whether it would go; nothing is changed.

use super::place::Place;
use super::{Work, listed};
use crate::problem::Problem;
use anyhow::Result;
use banyan::{Config, DoctorOptions};
use banyan_copy::{COPY_REFUSED, Side, Target};
use banyan_core::{Error, Finding, Verdict};
use serde_json::{Value, json};

/// What is known of the target.
struct Looked {
    place: String,
    target: Target,
    /// What somebody should look at before the copy.
    warnings: Vec<Finding>,
}

impl Work<'_> {
    /// Lists what there is to copy, and examines the target if there is one.
    pub(super) async fn dry_run(&self, from: &Place, to: Option<&Place>) -> Result<()> {
        let source = self.open(from, None).await?;
        let looked = async {
            let tables =
                banyan_copy::survey(&self.env, &source).await.map_err(|error| self.of_error(error))?;
            let target = match to {
                Some(to) => Some(self.look(&source, to).await?),
                None => None,
            };
            anyhow::Ok((tables, target))
        };
        let looked = looked.await;
        source.store.close().await?;
        let (tables, target) = looked?;
        let (service, place) = (&self.args.service, &source.place);
        let mut text = format!("{}\n\n{place} holds this for {service}; nothing was copied", listed(&tables));
        let mut value = json!({"service": service, "from": place, "tables": tables});
        if let Some(target) = &target {
            text = format!("{text}\n{}", told(target));
            value["to"] = Value::from(target.place.as_str());
            value["target"] = serde_json::to_value(target.target)?;
            let warnings = target.warnings.iter().map(|finding| Value::from(finding.found.as_str()));
            value["warnings"] = warnings.collect();
        }
        self.output.value(&value, &text)
    }

    /// Looks whether the copy could go to `to`: reachable, with the rights that it needs, and empty or with an unfinished copy.
    async fn look(&self, source: &Side, to: &Place) -> Result<Looked> {
        let mut warnings = Vec::new();
        match &to.url {
            Some(url) => warnings = self.examine(url.expose(), to).await?,
            None if !to.file.exists() => {
                return Ok(Looked { place: to.shown.clone(), target: Target::Empty, warnings });
            }
            None => {}
        }
        let target = self.open(to, None).await?;
        let looked = banyan_copy::look(&self.env, source, &target).await;
        target.store.close().await?;
        let target = looked.map_err(|error| self.of_error(error))?;
        Ok(Looked { place: to.shown.clone(), target, warnings })
    }

    /// Examines the server as `doctor` does; returns what is worth a look.
    ///
    /// # Errors
    /// What stands in the way of the copy.
    async fn examine(&self, url: &str, to: &Place) -> Result<Vec<Finding>> {
        let service = &self.args.service;
        let mut config = Config { data: self.config.data.clone(), ..Config::default() };
        config.stores.insert(service.clone(), url.replace("${", "$${"));
        let options = DoctorOptions::new(self.env.clone());
        let report = self.system.examine(config, &options, &|_, _, _| {}).await?;
        let user = format!("store of {service}");
        let of_target = report.engines.into_iter().filter(|engine| engine.used_by.contains(&user));
        let findings: Vec<Finding> = of_target.flat_map(|engine| engine.findings).collect();
        if let Some(finding) = findings.iter().find(|finding| finding.verdict == Verdict::Fail) {
            let message = format!("the store {} cannot be copied to: {}", to.shown, finding.found);
            let next = finding.next_step.clone().unwrap_or_else(|| "look at what the server says".to_owned());
            return Err(Problem::new(Error::failed_precondition(COPY_REFUSED, message), next).into());
        }
        Ok(findings.into_iter().filter(|finding| finding.verdict == Verdict::Warn).collect())
    }
}

fn told(looked: &Looked) -> String {
    let place = &looked.place;
    let mut lines = vec![match looked.target {
        Target::Empty => format!("{place} is empty: the copy would begin"),
        Target::Unfinished => format!("{place} holds an unfinished copy of the same store: it would go on"),
        Target::Finished => {
            format!("{place} holds a verified copy of the same store: both would be compared once more")
        }
    }];
    let warning = |finding: &Finding| {
        let next = finding.next_step.as_deref().map(|next| format!(": {next}")).unwrap_or_default();
        format!("warning: {}{next}", finding.found)
    };
    lines.extend(looked.warnings.iter().map(warning));
    lines.join("\n")
}
