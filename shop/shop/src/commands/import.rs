//! `import`: fills the running shop with products, stock and customers of a data set.

use crate::dataset::{self, DatasetArgs};
use crate::progress;
use anyhow::{Context, Result};
use banyan::rpc::{Directory, Streaming};
use banyan_cli::{Globals, Output, Remote};
use clap::Args;
use serde_json::{Value, json};
use shop_contracts::catalog::v1::{CatalogServiceClient, ImportProductsRequest, Product};
use shop_contracts::inventory::v1::{ImportStockRequest, InventoryServiceClient};
use shop_contracts::types::v1::Money;
use shop_contracts::users::v1::{ImportUsersRequest, UserServiceClient};
use shop_dataset::{Customer, Dataset, Malformed, Report};

/// Products in one call.
const PRODUCTS_PER_CALL: usize = 250;
/// Customers in one call: hashing a password takes tens of milliseconds on purpose.
const CUSTOMERS_PER_CALL: usize = 25;

/// Fill the running shop with products, stock and customers of a data set
#[derive(Args)]
#[command(after_help = "\
It can be repeated: products and stock are set to what the data set says, customers that have an account keep it. \
The customers of the seed data are customer-17850@example.com and so on, with the password that --password shows.")]
pub(crate) struct ImportArgs {
    #[command(flatten)]
    dataset: DatasetArgs,
}

/// What an import did.
#[derive(Debug, Default)]
struct Imported {
    products: usize,
    stock: usize,
    customers: usize,
    /// Customers that had an account.
    customers_skipped: usize,
}

pub(crate) async fn run(args: ImportArgs, globals: Globals) -> Result<()> {
    let dataset = args.dataset.read()?;
    let remote = Remote::find(&globals.data()?)?;
    let directory = remote.directory().await?;
    let import = Import { remote, directory, json: globals.json };
    let imported = Imported {
        products: import.products(&dataset).await.context("products")?,
        stock: import.stock(&dataset).await.context("stock")?,
        ..import.customers(&dataset.customers, &args.dataset.password).await.context("customers")?
    };
    Output::new(globals.json)?.value(
        &json!({"imported": imported.to_json(), "dataset": report_json(&dataset.report)}),
        &format!("{}{imported}", dataset.report),
    )
}

/// The way into the running shop.
struct Import {
    remote: Remote,
    directory: Directory,
    json: bool,
}

impl Import {
    async fn products(&self, dataset: &Dataset) -> Result<usize> {
        let catalog: CatalogServiceClient = self.directory.client();
        let bar = progress::bar(dataset.products.len(), "products", self.json);
        for batch in dataset.products.chunks(PRODUCTS_PER_CALL) {
            let requests: Vec<_> = batch.iter().map(product).collect();
            let answer = catalog.import_products(&self.remote.context(), Streaming::of(requests)).await?;
            bar.inc(answer.imported as u64);
        }
        bar.finish();
        Ok(dataset.products.len())
    }

    async fn stock(&self, dataset: &Dataset) -> Result<usize> {
        let inventory: InventoryServiceClient = self.directory.client();
        let bar = progress::bar(dataset.products.len(), "stock", self.json);
        for batch in dataset.products.chunks(PRODUCTS_PER_CALL) {
            let requests: Vec<_> = batch.iter().map(stock).collect::<Result<_>>()?;
            let answer = inventory.import_stock(&self.remote.context(), Streaming::of(requests)).await?;
            bar.inc(answer.imported as u64);
        }
        bar.finish();
        Ok(dataset.products.len())
    }

    async fn customers(&self, customers: &[Customer], password: &str) -> Result<Imported> {
        let users: UserServiceClient = self.directory.client();
        let bar = progress::bar(customers.len(), "customers", self.json);
        let mut imported = Imported::default();
        for batch in customers.chunks(CUSTOMERS_PER_CALL) {
            let requests: Vec<_> = batch.iter().map(|customer| account(customer, password)).collect();
            let answer = users.import_users(&self.remote.context(), Streaming::of(requests)).await?;
            imported.customers += answer.imported as usize;
            imported.customers_skipped += answer.skipped as usize;
            bar.inc(batch.len() as u64);
        }
        bar.finish();
        Ok(imported)
    }
}

fn product(product: &shop_dataset::Product) -> ImportProductsRequest {
    let product = Product {
        product_id: product.id.clone(),
        name: product.name.clone(),
        category: product.category.to_owned(),
        price: Some(Money::gbp(product.price_pence)),
        updated_at: None,
    };
    ImportProductsRequest { product: Some(product) }
}

fn stock(product: &shop_dataset::Product) -> Result<ImportStockRequest> {
    let on_hand = product.stock.try_into().with_context(|| format!("{}: too much stock", product.id))?;
    Ok(ImportStockRequest { product_id: product.id.clone(), on_hand })
}

fn account(customer: &Customer, password: &str) -> ImportUsersRequest {
    ImportUsersRequest {
        email: customer.email(),
        name: dataset::name(customer),
        password: password.to_owned(),
        country: customer.country.clone(),
    }
}

impl Imported {
    fn to_json(&self) -> Value {
        json!({
            "products": self.products,
            "stock": self.stock,
            "customers": self.customers,
            "customers_skipped": self.customers_skipped,
        })
    }
}

impl std::fmt::Display for Imported {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            out,
            "the shop has {} products with stock and {} new customers; {} customers had an account",
            self.products, self.customers, self.customers_skipped
        )
    }
}

fn report_json(report: &Report) -> Value {
    let set_aside: serde_json::Map<String, Value> =
        report.set_aside.iter().map(|(reason, lines)| (format!("{reason:?}"), json!(lines))).collect();
    let malformed: Vec<_> = report
        .malformed
        .iter()
        .map(|Malformed { line, problem }| json!({"line": line, "problem": problem}))
        .collect();
    json!({
        "lines": report.lines,
        "lines_ordered": report.lines_ordered,
        "set_aside": set_aside,
        "malformed": malformed,
        "invoices": report.invoices,
        "invoices_cancelled": report.invoices_cancelled,
        "stock_codes": report.stock_codes,
        "stock_codes_merged": report.stock_codes_merged,
        "stock_codes_unsellable": report.stock_codes_unsellable,
        "descriptions_conflicting": report.descriptions_conflicting,
        "not_goods": report.not_goods,
        "lines_without_customer": report.lines_without_customer,
        "lines_price_zero": report.lines_price_zero,
        "lines_price_negative": report.lines_price_negative,
        "lines_without_description": report.lines_without_description,
        "products": report.products,
        "customers": report.customers,
        "orders": report.orders,
        "order_lines": report.order_lines,
        "units": report.units,
    })
}
