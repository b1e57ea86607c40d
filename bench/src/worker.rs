//! One engine at one scale, in a process of its own: every workload in turn, results on stdout.

use std::path::Path;

use tempfile::TempDir;

use crate::data::Data;
use crate::engine::{Durability, Engine, Res, Setup};
use crate::engines;
use crate::limits;
use crate::machine;
use crate::plan::{Plan, Work, emit};
use crate::workload::{load, mixed, read, remove, reopen, scan, soak, sync};

pub fn run(plan: &Plan) -> Res<()> {
    match plan.work {
        Work::All => workloads(plan),
        Work::Memory => memory(plan),
        Work::LoadAndWait => load_and_wait(plan),
        Work::Limits => limits::run(plan),
    }
}

fn setup(plan: &Plan, durability: Durability) -> Setup {
    Setup { durability, compaction: true, ordered: false, data_bytes: plan.shape.bytes() }
}

fn workloads(plan: &Plan) -> Res<()> {
    let data = Data::new(plan.shape);
    let before = machine::anonymous_bytes()?;
    let os = setup(plan, Durability::Os);

    let dir = TempDir::new_in(&plan.dir)?;
    let engine = first_load(plan, &data, dir.path(), before)?;
    read::run(engine.as_ref(), &data, plan)?;
    engine.close()?;
    let disk = machine::disk_use(dir.path()).allocated;
    emit("disk", disk as f64 / plan.shape.bytes() as f64)?;
    machine::settle();

    if plan.wants("reopen") {
        reopen::after_close(plan, &data, dir.path(), os)?;
    }
    if plan.wants("scan") {
        scan_all(plan, &data, dir.path(), os)?;
    }
    if plan.wants("mixed") {
        let engine = engines::open(&plan.engine, dir.path(), os)?;
        mixed::run(engine.as_ref(), &data, plan)?;
        engine.close()?;
    }
    if plan.wants("sync") {
        let synced = setup(plan, Durability::Synced);
        let engine = engines::open(&plan.engine, dir.path(), synced)?;
        sync::run(engine.as_ref(), &data, plan)?;
        engine.close()?;
    }
    if plan.wants("soak") {
        soak_all(plan, &data, dir.path(), os)?;
    }
    if plan.wants("remove") {
        let engine = engines::open(&plan.engine, dir.path(), os)?;
        remove::run(engine.as_ref(), &data, plan)?;
        engine.close()?;
    }
    drop(dir);
    machine::settle();

    if plan.wants("batch") {
        let dir = TempDir::new_in(&plan.dir)?;
        let engine = engines::open(&plan.engine, dir.path(), os)?;
        emit("batch", load::batches(engine.as_ref(), &data, 0, plan.limit_seconds())?)?;
        engine.close()?;
    }
    if plan.wants("reopen") {
        let dir = TempDir::new_in(&plan.dir)?;
        reopen::after_kill(plan, &data, dir.path(), os)?;
    }
    Ok(())
}

/// The load that all later workloads build on; its memory counts from `memory_before` on.
fn first_load(plan: &Plan, data: &Data, dir: &Path, memory_before: u64) -> Res<Box<dyn Engine>> {
    let engine = engines::open(&plan.engine, dir, setup(plan, Durability::Os))?;
    if plan.wants("load") {
        emit("load", load::single(engine.as_ref(), data, plan.limit_seconds())?)?;
        let used = machine::anonymous_bytes()?.saturating_sub(memory_before);
        emit("memory", used as f64 / plan.shape.keys as f64)?;
    } else {
        load::batches(engine.as_ref(), data, 0, f64::INFINITY)?;
    }
    Ok(engine)
}

/// Scans, in the loaded store, with an ordered index; and the memory of that index.
fn scan_all(plan: &Plan, data: &Data, dir: &Path, os: Setup) -> Res<()> {
    let engine = engines::open(&plan.engine, dir, Setup { ordered: true, ..os })?;
    if let Some(bytes) = engine.index_bytes() {
        emit("memory_ordered", bytes as f64 / plan.shape.keys as f64)?;
    }
    scan::run(engine.as_ref(), data, plan)?;
    engine.close()
}

/// The saturated soak, and for KVS the one at half its rate with and without compaction.
fn soak_all(plan: &Plan, data: &Data, dir: &Path, os: Setup) -> Res<()> {
    let engine = engines::open(&plan.engine, dir, os)?;
    let rate = soak::saturated(engine.as_ref(), data, plan, dir)?;
    if plan.engine != engines::KVS {
        return engine.close();
    }
    soak::paced(engine.as_ref(), data, plan, rate / 2.0, "half_p99_us")?;
    engine.close()?;
    let engine = engines::open(&plan.engine, dir, Setup { compaction: false, ..os })?;
    soak::paced(engine.as_ref(), data, plan, rate / 2.0, "half_p99_off_us")?;
    engine.close()
}

/// The anonymous memory that a load takes per key, in a process that did nothing else.
fn memory(plan: &Plan) -> Res<()> {
    let data = Data::new(plan.shape);
    let before = machine::anonymous_bytes()?;
    let dir = TempDir::new_in(&plan.dir)?;
    let engine = engines::open(&plan.engine, dir.path(), setup(plan, Durability::Os))?;
    load::single(engine.as_ref(), &data, f64::INFINITY)?;
    let used = machine::anonymous_bytes()?.saturating_sub(before);
    emit("memory_alone", used as f64 / plan.shape.keys as f64)?;
    engine.close()
}

/// Loads the store in `plan.dir`, says so, and waits to be killed.
fn load_and_wait(plan: &Plan) -> Res<()> {
    let data = Data::new(plan.shape);
    let engine = engines::open(&plan.engine, &plan.dir, setup(plan, Durability::Os))?;
    load::batches(engine.as_ref(), &data, 0, f64::INFINITY)?;
    println!("{}", reopen::LOADED);
    loop {
        std::thread::park();
    }
}
