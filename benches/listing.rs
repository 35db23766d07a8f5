//! Listing one directory of 10,000 files, by how many entries a page has: with metadata and attributes, for
//! comparison; the names alone, for a sink that has nothing; and the digest of a page.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};
use osync_benches::Bed;
use osync_core::adapters::fs::source::DirectorySource;
use osync_core::compare::listing;
use osync_core::model::fidelity::Fidelity;
use osync_core::model::rel_path::RelPath;
use osync_core::ports::source::Source;

const FILES: usize = 10_000;
const PAGES: [usize; 3] = [64, 1_024, 16_384];

fn listing(criterion: &mut Criterion) {
    let bed = Bed::filled(1, FILES, 0);
    let source = DirectorySource::open(&bed.source()).expect("the source");
    let directory = RelPath::new(b"d00000").expect("a path");

    let mut group = criterion.benchmark_group("list");
    group.throughput(Throughput::Elements(FILES as u64));
    for limit in PAGES {
        group.bench_with_input(BenchmarkId::from_parameter(limit), &limit, |bencher, limit| {
            bencher.iter(|| {
                let (mut after, mut listed) = (None, 0);
                loop {
                    let page = source.list(&directory, after.as_ref(), *limit);
                    let page = page.expect("it can be listed").expect("it is there");
                    listed += page.entries.len();
                    if !page.has_more {
                        assert_eq!(listed, FILES);
                        break;
                    }
                    after = page.entries.last().map(|entry| entry.name.clone());
                }
            });
        });
    }
    group.finish();

    let mut group = criterion.benchmark_group("names");
    group.throughput(Throughput::Elements(FILES as u64));
    for limit in PAGES {
        group.bench_with_input(BenchmarkId::from_parameter(limit), &limit, |bencher, limit| {
            bencher.iter(|| {
                let (mut after, mut listed) = (None, 0);
                loop {
                    let page = source.names(&directory, after.as_ref(), *limit);
                    let page = page.expect("it can be listed").expect("it is there");
                    listed += page.names.len();
                    if !page.has_more {
                        assert_eq!(listed, FILES);
                        break;
                    }
                    after = page.names.last().map(|(name, _)| name.clone());
                }
            });
        });
    }
    group.finish();

    let page = source.list(&directory, None, FILES).expect("it can be listed");
    let entries = page.expect("it is there").entries;
    let mut group = criterion.benchmark_group("digest_of_listing");
    group.throughput(Throughput::Elements(FILES as u64));
    for limit in PAGES {
        group.bench_with_input(BenchmarkId::from_parameter(limit), &limit, |bencher, limit| {
            bencher.iter(|| {
                for page in entries.chunks(*limit) {
                    black_box(listing::digest(None, page, Fidelity::FULL));
                }
            });
        });
    }
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    listing(&mut criterion);
    criterion.final_summary();
}
