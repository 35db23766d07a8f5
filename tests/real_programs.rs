//! Programs as they run on a source: after each the copy is equal, and sound by the program's own judgement.
//!
//! Judgement is passed on a copy of the settled target, because most programs write where they look.

use std::path::Path;

use rustix::process::Signal;

use crate::program::{SOON, start_source};
use crate::shell::{is_installed, run};
use crate::tree::{self, Pair};
use crate::wait;

/// One program: what it needs, what it does to the source in several steps, and how it checks a copy.
struct Program<'a> {
    tools: &'a [&'a str],
    /// Each is run in the source; the target must be equal after it.
    steps: &'a [&'a str],
    /// Run in a copy of the target.
    check: &'a str,
}

#[test]
fn git_finds_its_repository_sound() {
    replicate(&Program {
        tools: &["git"],
        steps: &[
            "git init -q -b main one; cd one; git config user.name T; git config user.email t@example.org
             for n in $(seq 40); do mkdir -p d$((n % 5)); seq $n 400 >d$((n % 5))/f$n; git add .; git commit -qm $n; done",
            "cd one; git checkout -qb side HEAD~20; for n in $(seq 10); do echo $n >>side; git add .; git commit -qm s$n; done
             git rebase -q main; git checkout -q main; git merge -q --no-ff -m merged side",
            "git clone -q --local one two; cd one; git gc -q --prune=now; git worktree add -q ../three side; git stash list",
            "cd one; git checkout -q HEAD~5; git repack -qad; git tag -a -m t t; git checkout -q main; rm -rf ../three
             git worktree prune; git branch -qD side",
        ],
        check: "for repository in one two; do
                    git -C $repository fsck --strict --no-progress
                    test -z \"$(git -C $repository status --porcelain)\"
                done
                test $(git -C one rev-list --count main) -eq 51",
    });
}

#[test]
fn sqlite_finds_its_databases_sound() {
    replicate(&Program {
        tools: &["sqlite3"],
        steps: &[
            "for mode in delete wal persist; do
                sqlite3 $mode.db \"pragma journal_mode = $mode; create table t (a integer primary key, b blob);\"
                for n in $(seq 20); do echo \"insert into t (b) values (randomblob($n * 100));\"; done | sqlite3 $mode.db
             done",
            // Several writers at once, each with many transactions, while the files are open.
            "for mode in delete wal persist; do
                for writer in 1 2 3; do
                    { echo '.timeout 20000'
                      for n in $(seq 60); do
                        echo \"begin immediate; insert into t (b) values (randomblob(3000)); update t set b = randomblob(500) where a % 17 = $n % 17; commit;\"
                      done; } | sqlite3 $mode.db &
                done
             done; wait",
            "for mode in delete wal persist; do sqlite3 $mode.db 'delete from t where a % 3 = 0; vacuum;'; done",
        ],
        check: "for mode in delete wal persist; do
                    test \"$(sqlite3 $mode.db 'pragma integrity_check')\" = ok
                    test $(sqlite3 $mode.db 'select count(*) from t') -eq 134
                done",
    });
}

#[test]
fn a_maildir_has_every_message_whole() {
    replicate(&Program {
        tools: &["seq"],
        steps: &[
            "mkdir -p Maildir/tmp Maildir/new Maildir/cur
             for n in $(seq 300); do
                { echo \"Subject: $n\"; echo; seq $n; echo end; } >Maildir/tmp/$n.host
                ln Maildir/tmp/$n.host Maildir/new/$n.host; rm Maildir/tmp/$n.host
             done",
            "cd Maildir; for n in $(seq 300); do mv new/$n.host cur/$n.host:2,; done
             for n in $(seq 1 2 300); do mv cur/$n.host:2, cur/$n.host:2,S; done",
            "cd Maildir; mkdir -p .Trash/cur .Trash/new .Trash/tmp
             for n in $(seq 1 2 100); do mv cur/$n.host:2,S .Trash/cur/$n.host:2,ST; done
             rm -r .Trash; echo 'dovecot-uidlist 1' >uidlist.lock; mv uidlist.lock uidlist",
        ],
        check: "test $(ls Maildir/cur | wc -l) -eq 250
                for file in Maildir/cur/*; do tail -n 1 \"$file\" | grep -qx end; done
                test -z \"$(ls Maildir/new Maildir/tmp | grep host)\"",
    });
}

#[test]
fn dpkg_finds_its_packages_sound() {
    replicate(&Program {
        tools: &["dpkg", "dpkg-deb"],
        steps: &[
            "mkdir -p var/lib/dpkg/info var/lib/dpkg/updates; : >var/lib/dpkg/status
             for version in 1 2; do
                mkdir -p build/DEBIAN build/usr/share/thing/part build/etc; cd build
                for n in $(seq 200); do seq $n $((n + version * 50)) >usr/share/thing/part/f$n; done
                ln -f usr/share/thing/part/f1 usr/share/thing/again; ln -sfn part/f$version usr/share/thing/link
                echo \"setting = $version\" >etc/thing.conf; echo /etc/thing.conf >DEBIAN/conffiles
                printf 'Package: thing\\nVersion: %s\\nArchitecture: all\\nMaintainer: T <t@example.org>\\nDescription: t\\n' $version >DEBIAN/control
                (find usr -type f -exec md5sum {} +) >DEBIAN/md5sums
                cd ..; dpkg-deb --root-owner-group -b build thing-$version.deb
             done",
            "dpkg --root=$PWD --force-script-chrootless --log=/dev/null -i thing-1.deb",
            "dpkg --root=$PWD --force-script-chrootless --log=/dev/null -i thing-2.deb",
            "rm -r build thing-1.deb",
        ],
        check: "test -z \"$(dpkg --root=$PWD --verify thing)\"
                test -z \"$(dpkg --root=$PWD --audit)\"
                test $(find usr -type f | wc -l) -eq 201
                test $(readlink usr/share/thing/link) = part/f2",
    });
}

#[test]
fn tar_finds_no_difference() {
    replicate(&Program {
        tools: &["tar"],
        steps: &[
            "mkdir tree; for n in $(seq 300); do mkdir -p tree/d$((n % 20)); seq $n >tree/d$((n % 20))/f$n; done
             ln tree/d1/f1 tree/hard; ln -s d1/f1 tree/soft; truncate -s 3M tree/hole; tar -cf tree.tar tree",
            "mkdir out; tar -C out -xf tree.tar",
            "rm -rf out/tree/d3; for n in $(seq 300); do echo more >>tree/d$((n % 20))/f$n; done
             tar -cf tree.tar tree; tar -C out -xf tree.tar --overwrite; tar -C out -xf tree.tar",
        ],
        check: "tar -C out --compare -f tree.tar",
    });
}

/// The cluster of `PostgreSQL` is the user's `nobody`, because the server refuses to be root.
#[test]
fn postgresql_finds_its_cluster_sound() {
    let directories = "PATH=$PATH:$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | tail -n 1)\n";
    let as_nobody = |script: &str| {
        format!(
            "{directories} cat >\"$1\" <<'SCRIPT'\n set -eu; export LC_ALL=C HOME=/tmp\n{script}\nSCRIPT\n
             export PATH; setpriv --reuid=65534 --regid=65534 --clear-groups sh \"$1\""
        )
    };
    let steps = [
        as_nobody("initdb -k -A trust -U nobody -D cluster --no-sync"),
        as_nobody(
            "sockets=$(mktemp -d)
             pg_ctl -w -s -D cluster -l /dev/null -o \"-c listen_addresses= -k $sockets -c max_wal_size=32MB\" start
             trap 'pg_ctl -w -s -D cluster -m fast stop; rm -rf $sockets' EXIT
             pgbench -q -i -s 3 -h $sockets postgres
             pgbench -c 4 -j 2 -T 8 -h $sockets postgres
             psql -qh $sockets -c 'vacuum full pgbench_accounts' -c 'reindex database postgres' postgres
             pgbench -n -c 4 -j 2 -T 4 -h $sockets postgres",
        ),
    ];
    let check = as_nobody(
        "pg_checksums --check -D cluster
         sockets=$(mktemp -d)
         pg_ctl -w -s -D cluster -l /dev/null -o \"-c listen_addresses= -k $sockets\" start
         trap 'pg_ctl -w -s -D cluster -m fast stop; rm -rf $sockets' EXIT
         sums=$(psql -qAth $sockets -c 'select (select sum(abalance) from pgbench_accounts) = (select sum(delta) from pgbench_history),
             (select sum(tbalance) from pgbench_tellers) = (select sum(bbalance) from pgbench_branches),
             (select count(*) from pgbench_history) > 10' postgres)
         test \"$sums\" = 't|t|t'
         pg_amcheck -h $sockets --install-missing --heapallindexed postgres",
    );
    replicate(&Program {
        tools: &["pgbench", "pg_ctl", "setpriv"],
        steps: &steps.each_ref().map(String::as_str),
        check: &check,
    });
}

/// Runs `program` on a source that is replicated meanwhile.
fn replicate(program: &Program<'_>) {
    if let Some(missing) = program.tools.iter().find(|tool| !is_installed(tool)) {
        println!("SKIP: {missing} is not installed");
        return;
    }
    let pair = Pair::new();
    let script = pair.source.with_extension("script");
    if tree::is_root() {
        open_to_everybody(&pair.source);
    }
    let (source, addresses) = start_source(&pair.source);
    let sink = addresses.start_sink(&pair.target);
    sink.wait_line("in sync: ");

    for step in program.steps {
        run(&pair.source, step, &[&script]);
        pair.assert_equal_within(SOON, step);
    }

    // What never held still while it was read is read whole a moment later.
    let has_no_problems = || {
        source.signal(Signal::USR1);
        let log = source.log();
        let (_, report) = log.rsplit_once("report: QueueReport")?;
        report.contains(" problems: 0,").then_some(())
    };
    wait::for_value(SOON, has_no_problems, || source.log());
    sink.terminate();
    source.terminate();
    pair.assert_equal();
    let copy = pair.target.with_extension("copy");
    run(&pair.source, "cp -a \"$1\" \"$2\"", &[&pair.target, &copy]);
    run(&copy, program.check, &[&script]);
}

/// A source in which another user may work.
fn open_to_everybody(source: &Path) {
    tree::set_mode(source, 0o777);
    tree::set_mode(source.parent().unwrap(), 0o777);
}
