//! `cargo xtask`: everything that Gatepost needs done and that cargo alone cannot do.
//!
//! [`setup`] brings a machine to where it can build and test, and every other verb calls it first; what is there is
//! skipped. It knows none of the other crates and only runs cargo on them.
#![expect(clippy::print_stdout, reason = "it tells a person at a terminal what it does")]

mod bench;
mod build;
mod ci;
mod fuzz;
mod kernels;
mod lab;
mod run;
mod setup;
mod shell;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "Set-up, build, run, test, lab and CI of Gatepost")]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Install what is missing to build and test
    Setup,
    /// Build the `gatepost` program
    Build {
        /// Optimised, without the kernel program's diagnostics
        #[arg(long)]
        release: bool,
    },
    /// Build and run the agent; without arguments as a first try that leaves nothing behind
    Run {
        /// Arguments of `gatepost run`, such as --config FILE
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// Run every test, the end-to-end ones as root
    Test {
        /// Instead: show that the release filter loads and drops on Linux 6.1, 6.12 and the running kernel
        #[arg(long, conflicts_with = "arguments")]
        kernels: bool,
        /// Arguments of the test runner, such as part of a test's name
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// Measure, as root, beside those who do the same
    Bench {
        /// kernel: packets; load: the filling of the lists; engine: offences; react: from the mail server's refusal into the
        /// kernel; smtp: messages; reject: refusals and idle sessions; logs: a mail log; web: first bytes of pages and routes
        #[arg(value_name = "NAME")]
        name: String,
        /// Arguments of the bench, such as one part of it: packet or wire of kernel
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// Feed a reader of hostile bytes with whatever breaks it: line, command, reply, body, mime or session
    Fuzz {
        /// The target
        name: String,
        /// For how long
        #[arg(long, default_value_t = 60)]
        seconds: u32,
    },
    /// Build a small world of clients, gateway and mail server, and keep it until Ctrl-C
    Lab,
    /// Everything that must be green before a commit lands
    Ci,
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().verb {
        Verb::Setup => setup::everything(),
        Verb::Build { release } => build::build(release).map(drop),
        Verb::Run { arguments } => run::run(&arguments),
        Verb::Test { kernels: true, .. } => kernels::kernels(),
        Verb::Test { arguments, .. } => test::test(&arguments),
        Verb::Bench { name, arguments } => bench::bench(&name, &arguments),
        Verb::Fuzz { name, seconds } => fuzz::fuzz(&name, seconds),
        Verb::Lab => lab::lab(),
        Verb::Ci => ci::ci(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
