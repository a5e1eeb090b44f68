//! What the service answers: the generated contract, implemented.

use crate::domain::Report;
use crate::{Analytics, store};
use banyan::prelude::*;
use shop_contracts::analytics::v1::*;
use shop_contracts::callers::ADMIN;

impl AnalyticsService for Analytics {
    async fn sales_report(&self, cx: &Context, req: SalesReportRequest) -> Result<SalesReportResponse> {
        check_may_read(cx.identity())?;
        let report = Report::new(req, cx.env().clock.unix_ms())?;
        let (page, days_max) = (report.page.clone(), self.settings.report_days_max);
        let mut rows = self
            .store
            .read(cx, move |q| match store::first_day(q)? {
                Some(first) => {
                    let days = report.days(first, days_max)?;
                    store::rows(q, &report, days)
                }
                None => Ok(Vec::new()),
            })
            .await?;
        let next_page_token = page.cut(&mut rows, |(token, _)| token);
        Ok(SalesReportResponse { rows: rows.into_iter().map(|(_, row)| row).collect(), next_page_token })
    }
}

/// Admits admins and services. The gateway asks too; this holds whatever the way.
fn check_may_read(identity: &Identity) -> Result<()> {
    match identity.kind() {
        IdentityKind::Service => Ok(()),
        IdentityKind::User if identity.has_role(ADMIN) => Ok(()),
        IdentityKind::User => Err(Error::permission_denied("only an admin may read the sales")),
        IdentityKind::Anonymous => Err(Error::unauthenticated("sign in first")),
    }
}
