//! Whether the arm that was named can carry the hand.

use dexumi_retarget::ArmFigures;

use crate::{measured::Measured, metric::Found};

fn arms<'a>(measured: &Measured<'a>) -> impl Iterator<Item = &'a ArmFigures> + use<'a> {
    let reports = measured.input.retargeted.iter();
    reports.filter_map(|report| report.arm.as_ref())
}

pub(crate) fn unreachable(measured: &Measured<'_>) -> Vec<Found> {
    let found = |figures: &ArmFigures| {
        let report = &figures.report;
        let where_ = if figures.searched {
            ", base searched"
        } else {
            ""
        };
        Found::new(&report.arm, 100.0 - report.reachable_percent).noting(format!(
            "{} of {} steps reached{where_}",
            report.reached, report.steps
        ))
    };
    arms(measured).map(found).collect()
}

pub(crate) fn arm_flagged(measured: &Measured<'_>) -> Vec<Found> {
    let found = |figures: &ArmFigures| {
        let report = &figures.report;
        let bad = report.steps - report.good;
        let flags: Vec<String> = report
            .flags
            .iter()
            .filter(|flag| flag.steps > 0)
            .map(|flag| format!("{} {}", flag.steps, flag.flag))
            .collect();
        Found::new(&report.arm, 100.0 * bad as f64 / report.steps.max(1) as f64)
            .noting(flags.join(", "))
    };
    arms(measured).map(found).collect()
}
