//! `copy`: the data of a service go from one store to another, while the service does not run.

mod dry_run;
mod place;
mod progress;

use crate::args::{Globals, RunArgs};
use crate::output::{Output, table};
use crate::problem::{Problem, program_name};
use anyhow::Result;
use banyan::saga::{SagaOptions, Sagas};
use banyan::store::{MIGRATION_DRIFT, Query as _, STORE_IN_USE, Store, params};
use banyan::{Config, StoreSchema, System, suggestion};
use banyan_control::program::keep_private;
use banyan_copy::{
    COPY_DIFFERS, COPY_REFUSED, COPY_VALUE_REFUSED, Migrate, Options, Report, Side, TableReport,
};
use banyan_core::{Code, Context, Env, Error, Identity, Reason};
use clap::Args;
use place::Place;
use progress::Progress;
use serde_json::json;
use std::path::PathBuf;

/// The namespace of the sagas' migrations.
const SAGAS: &str = "banyan-saga";

#[derive(Args)]
#[command(after_help = "\
Examples:
  copy payments --from sqlite --to postgres://shop@db.internal/payments
  copy payments --from sqlite --to fleet                 to where the profile fleet has the store of payments
  copy payments --from sqlite --to mysql --profile fleet
  copy payments --from sqlite --to fleet --dry-run       what there is to copy, and whether the target is ready for it
  copy payments --from sqlite --to fleet --verify-only   compare both, copy nothing
  copy payments --from sqlite --unmark                   let the service back on the store that it was moved from

Stop the service first: both stores belong to the copy while it works. Everything goes over: tables, events that were not sent yet, \
answers to idempotency keys, sagas with their journals and timers. Whatever is killed, the same copy run again goes on where it \
was. At the end both stores are read anew and compared; then the old one is marked, so that the service does not start on it by \
accident. Nothing else of the old store is changed.")]
pub(crate) struct CopyArgs {
    /// The service whose data are copied.
    service: String,
    /// Where they are: `sqlite` (the file in the data folder), a URL, a profile, or an engine that the configuration has a URL for.
    #[arg(long, value_name = "PLACE")]
    from: String,
    /// Where they go; an empty database, or one with an unfinished copy of the same store.
    #[arg(long, value_name = "PLACE", required_unless_present_any = ["dry_run", "unmark"])]
    to: Option<String>,
    /// Configuration file; `banyan.toml` is read if it is there.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// List tables and rows, and examine the store at --to if there is one; copy nothing.
    #[arg(long, conflicts_with_all = ["verify_only", "unmark", "restart"])]
    dry_run: bool,
    /// Compare both stores; copy nothing.
    #[arg(long, conflicts_with_all = ["unmark", "restart"])]
    verify_only: bool,
    /// Throw away what an unfinished copy has brought, and begin anew.
    #[arg(long, conflicts_with = "unmark")]
    restart: bool,
    /// Leave the old store without the mark that its data were moved.
    #[arg(long)]
    no_mark: bool,
    /// Take the mark from the store at --from; what was written to the new one since stays there.
    #[arg(long)]
    unmark: bool,
    /// A table that is not the service's and stays behind; may be given several times.
    #[arg(long, value_name = "TABLE")]
    leave_out: Vec<String>,
    /// Rows that go over in one transaction, at most.
    #[arg(long, value_name = "ROWS", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    batch_rows: u32,
}

pub(crate) async fn run(system: &System, args: CopyArgs, globals: Globals) -> Result<()> {
    check_service(system, &args.service)?;
    keep_private();
    let env = Env::default();
    let run = RunArgs { config: args.config.clone(), ..RunArgs::default() };
    let config = run.config(&globals)?;
    let places = place::Places {
        system,
        service: &args.service,
        config: &config,
        file: args.config.as_deref(),
        globals: &globals,
    };
    let from = places.find("--from", &args.from).await?;
    let output = Output::new(globals.json)?;
    let work = Work { system, args: &args, config: &config, env, output: &output };
    if args.unmark {
        return work.unmark(&from).await;
    }
    if args.dry_run {
        let to = match &args.to {
            Some(word) => Some(places.find("--to", word).await?),
            None => None,
        };
        to.as_ref().map_or(Ok(()), |to| differ(&from, to))?;
        return work.dry_run(&from, to.as_ref()).await;
    }
    // clap asks for it.
    let to = places.find("--to", args.to.as_deref().unwrap_or_default()).await?;
    differ(&from, &to)?;
    work.copy(&from, &to).await
}

fn differ(from: &Place, to: &Place) -> Result<(), Problem> {
    if from.shown != to.shown {
        return Ok(());
    }
    let problem = format!("both are {}", to.shown);
    Err(Problem::usage("--to", problem, "name the store that the data go to"))
}

fn check_service(system: &System, service: &str) -> Result<(), Problem> {
    if system.find(service).is_some() {
        return Ok(());
    }
    let names: Vec<_> = system.services().iter().map(|service| service.name()).collect();
    let (message, next) = match names.is_empty() {
        true => (
            "this program has no services, and a copy needs the migrations of the service".to_owned(),
            "use the program of the system: the one that runs it".to_owned(),
        ),
        false => {
            let near = suggestion(service, names.iter().copied());
            (
                format!("there is no service {service:?}; {near}"),
                format!("`{} config show` shows them", program_name()),
            )
        }
    };
    Err(Problem::new(Error::new(Code::NotFound, Reason::NOT_FOUND, message), next))
}

struct Work<'a> {
    system: &'a System,
    args: &'a CopyArgs,
    config: &'a Config,
    env: Env,
    output: &'a Output,
}

impl Work<'_> {
    /// Opens a store; `copied_from` is given for the one that is copied into. In any other nothing is made.
    async fn open(&self, place: &Place, copied_from: Option<&Place>) -> Result<Side> {
        let (service, env) = (&self.args.service, &self.env);
        let options = match copied_from {
            Some(from) => banyan_copy::target_options(service, env, &from.shown),
            None => banyan_copy::looking_options(service, env),
        };
        let store = match &place.url {
            Some(url) => self.system.open_store(&self.args.service, url.expose(), options).await,
            None if copied_from.is_none() && !place.file.exists() => {
                let message = format!("there is no file {}", place.file.display());
                let error = Error::new(Code::NotFound, Reason::NOT_FOUND, message);
                return Err(Problem::new(
                    error,
                    "name the data folder with --data, or another store with --from",
                )
                .into());
            }
            None => Store::open(&place.file, options).await,
        };
        Ok(Side { store: store.map_err(|error| self.of_error(error))?, place: place.shown.clone() })
    }

    async fn unmark(&self, from: &Place) -> Result<()> {
        let side = self.open(from, None).await?;
        let outcome = banyan_copy::unmark(&self.env, &side).await;
        side.store.close().await?;
        let service = &self.args.service;
        let text = match outcome.as_ref().map_err(|error| self.of_error(error.clone()))? {
            Some(to) => format!(
                "{service} may start on {} again; what was written to {to} since stays there",
                side.place
            ),
            None => format!("{} has no mark: {service} may start on it", side.place),
        };
        let was_marked = matches!(outcome, Ok(Some(_)));
        self.output.value(&json!({"service": service, "from": side.place, "was_marked": was_marked}), &text)
    }

    async fn copy(&self, from: &Place, to: &Place) -> Result<()> {
        let schema = self.schema().await?;
        let source = self.open(from, None).await?;
        let target = match self.open(to, (!self.args.verify_only).then_some(from)).await {
            Ok(target) => target,
            Err(error) => {
                source.store.close().await?;
                return Err(error);
            }
        };
        let outcome = self.work(&source, &target, schema).await;
        // An error of the copy says more than one of closing after it.
        let closed = source.store.close().await.and(target.store.close().await);
        let report = outcome.map_err(|error| self.of_error(error))?;
        closed?;
        let (text, line) = (self.told(&report, &source, &target, to), to.setting.clone());
        let value = json!({
            "service": self.args.service, "from": source.place, "to": target.place, "tables": report.tables,
            "copied": report.copied, "resumed": report.resumed, "verified": true, "marked": report.marked,
            "setting": {"key": format!("stores.{}", self.args.service), "value": line},
        });
        self.output.value(&value, &text)
    }

    async fn work(&self, source: &Side, target: &Side, schema: StoreSchema) -> banyan_core::Result<Report> {
        let options = Options {
            batch_rows_max: self.args.batch_rows,
            restart: self.args.restart,
            leave_out: self.args.leave_out.clone(),
            mark: !self.args.no_mark,
        };
        let progress = Progress::new(self.output.is_json(), &self.env);
        if self.args.verify_only {
            return banyan_copy::verify(&self.env, source, target, &options, &progress).await;
        }
        let sagas = self.has_sagas(&source.store).await?;
        let (env, service) =
            (self.env.clone(), self.system.find(&self.args.service).map_or("", |def| def.name()));
        let migrate: Migrate<'_> = Box::new(move |store| {
            Box::pin(async move {
                store.migrate(service, schema.migrations).await?;
                store.verify(schema.statements).await?;
                if sagas {
                    Sagas::new(store, SagaOptions::default(), env).await?;
                }
                Ok(())
            })
        });
        banyan_copy::copy(&self.env, source, target, migrate, &options, &progress).await
    }

    /// Finds out with which migrations the service opens its store.
    async fn schema(&self) -> Result<StoreSchema> {
        let service = &self.args.service;
        let mut config = self.config.clone();
        // What the service itself needs, and no more.
        config.stores.clear();
        (config.events.url, config.cache.url) = (None, None);
        config.services.retain(|name, _| name == service);
        self.system.resolve(&mut config).await?;
        let schema = self.system.store_schema(service, &config, &self.env).await?;
        schema.ok_or_else(|| {
            let message = format!("the service {service} has no store");
            let error = Error::failed_precondition(COPY_REFUSED, message);
            Problem::new(error, "name a service that keeps data").into()
        })
    }

    /// Tells whether the service runs sagas, whose journal is in its store.
    async fn has_sagas(&self, source: &Store) -> banyan_core::Result<bool> {
        let cx = Context::new(&self.env, Identity::service(source.service()));
        let sql = "SELECT version FROM banyan_migrations WHERE namespace = $1";
        let found = source
            .read(&cx, move |read| read.query_opt(sql, params![SAGAS], |row| row.get::<u32>("version")));
        Ok(found.await?.is_some())
    }

    /// Says what was done, and which line of the configuration is to be changed.
    fn told(&self, report: &Report, source: &Side, target: &Side, to: &Place) -> String {
        let service = &self.args.service;
        let rows: u64 = report.tables.iter().map(|table| table.rows).sum();
        let table = listed(&report.tables);
        if self.args.verify_only {
            return format!(
                "{table}\n\n{} holds what {} holds: {rows} rows, compared by their values",
                target.place, source.place
            );
        }
        let went_on = match (report.resumed, report.copied) {
            (true, 0) => " (they were there already)",
            (true, _) => " (an earlier copy was gone on with)",
            _ => "",
        };
        let mark = match report.marked {
            true => format!("{service} does not start on {} any more (--unmark lets it)", source.place),
            false => format!("{} has no mark: see that {service} is not started on both", source.place),
        };
        format!(
            "{table}\n\n{rows} rows are in {}{went_on}, and compared by their values\n{mark}\n\nSet in banyan.toml, or in the \
             profile that you use:\n\n[stores]\n{service} = {}{}",
            target.place,
            toml::Value::from(to.setting.as_str()),
            if to.has_password {
                "    # the password in its place, or a reference to it: ${env:NAME}"
            } else {
                ""
            },
        )
    }

    /// Adds the next step to an error.
    fn of_error(&self, error: Error) -> anyhow::Error {
        let service = &self.args.service;
        let program = program_name();
        let next = if error.is(STORE_IN_USE) {
            format!(
                "stop {service}, or the system that it runs in (Ctrl-C; `{program} status` shows where), and run the copy again"
            )
        } else if error.is(COPY_VALUE_REFUSED) {
            format!(
                "mend the value, or widen the column by a migration of {service}, and run the same copy again: it goes on there"
            )
        } else if error.is(COPY_DIFFERS) {
            format!(
                "nothing was marked, {service} may go on where it was; if the old store was changed in between, run the copy again \
                 with --restart"
            )
        } else if error.is(COPY_REFUSED) || error.is(MIGRATION_DRIFT) {
            format!("`{program} copy --help` says what a copy needs; nothing of the old store was changed")
        } else {
            return error.into();
        };
        Problem::new(error, next).into()
    }
}

/// Lays out tables and their rows.
fn listed(tables: &[TableReport]) -> String {
    let row = |report: &TableReport| {
        vec![report.table.clone(), report.rows.to_string(), report.checksum.clone().unwrap_or_default()]
    };
    let heading = match tables.iter().any(|table| table.checksum.is_some()) {
        true => &["TABLE", "ROWS", "CHECKSUM"][..],
        false => &["TABLE", "ROWS"],
    };
    table(heading, &tables.iter().map(row).collect::<Vec<_>>())
}
