//! Any text as a plan file: no panic, few errors that lie within it, and a plan is written and read back as itself.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_plan::file::{ERRORS_MAX, parse, write};

fuzz_target!(|text: &str| {
    match parse(text) {
        Ok(plan) => {
            let written = write(&plan);
            assert_eq!(parse(&written).as_ref(), Ok(&plan), "{written}");
            let users = &plan.scenario.users;
            let hours = plan.scenario.hours;
            assert!(users.at(hours / 2.0) <= users.max());
            assert!(users.integral(0.0, hours).is_finite());
        }
        Err(errors) => {
            assert!((1..=ERRORS_MAX).contains(&errors.len()));
            for error in errors {
                assert!(error.line > 0 && error.column > 0);
                assert!(error.span.is_none_or(|span| span.start <= span.end && span.end <= text.len()));
            }
        }
    }
});
