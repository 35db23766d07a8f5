//! Listing one directory of 10,000 files, by how many entries a page has: with metadata and attributes, for
//! comparison; the names alone, for a sink that has nothing; and the digest of a page.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};
use osync_benches::Bed;
use osync_core::adapters::fs::source::DirectorySource;
use osync_core::compare::listing;
use osync_core::model::fidelity::Fidelity;
use osync_core::model::name::Name;
use osync_core::model::rel_path::RelPath;
use osync_core::ports::source::Source;

const FILES: usize = 10_000;
const PAGES: [usize; 3] = [64, 1_024, 16_384];

/// Goes through the directory by what `page` tells of the names after one: how many, and the last if more follow.
fn pages(
    criterion: &mut Criterion,
    name: &str,
    page: impl Fn(Option<&Name>, usize) -> (usize, Option<Name>),
) {
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Elements(FILES as u64));
    for limit in PAGES {
        group.bench_with_input(BenchmarkId::from_parameter(limit), &limit, |bencher, limit| {
            bencher.iter(|| {
                let (mut listed, mut after) = page(None, *limit);
                while let Some(last) = after {
                    let (more, next) = page(Some(&last), *limit);
                    (listed, after) = (listed + more, next);
                }
                assert_eq!(listed, FILES);
            });
        });
    }
    group.finish();
}

fn listing(criterion: &mut Criterion) {
    let bed = Bed::filled(1, FILES, 0);
    let source = DirectorySource::open(&bed.source()).expect("the source");
    let directory = RelPath::new(b"d00000").expect("a path");

    pages(criterion, "list", |after, limit| {
        let page = source.list(&directory, after, limit).expect("it can be listed");
        let page = page.expect("it is there");
        let last = page.entries.last().map(|entry| entry.name.clone());
        (page.entries.len(), last.filter(|_| page.has_more))
    });
    pages(criterion, "names", |after, limit| {
        let page = source.names(&directory, after, limit).expect("it can be listed");
        let page = page.expect("it is there");
        let last = page.names.last().map(|(name, _)| name.clone());
        (page.names.len(), last.filter(|_| page.has_more))
    });

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
