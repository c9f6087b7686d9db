// Workers by cgroup quota, on made-up /proc and /sys trees.
#include <unistd.h>
#include <catch2/catch.hpp>

#include <filesystem>
#include <fstream>

#include "core/cpu_quota.hpp"

using namespace kw;

namespace {

class tree {
  public:
    tree() {
        char name[] = "/tmp/kw-cgroup-XXXXXX";
        REQUIRE(mkdtemp(name) != nullptr);
        root_ = name;
    }
    tree(const tree&) = delete;
    tree& operator=(const tree&) = delete;
    ~tree() { std::filesystem::remove_all(root_); }
    tree& file(const std::string& path, const std::string& text) {
        const std::filesystem::path full = root_ + path;
        std::filesystem::create_directories(full.parent_path());
        std::ofstream(full) << text;
        return *this;
    }
    const std::string& root() const { return root_; }

  private:
    std::string root_;
};

}  // namespace

TEST_CASE("version 2: the tightest quota on the way to the root counts") {
    tree t;
    t.file("/proc/self/cgroup", "0::/a/b\n")
        .file("/sys/fs/cgroup/a/b/cpu.max", "max 100000\n")
        .file("/sys/fs/cgroup/a/cpu.max", "150000 100000\n");
    CHECK(cgroup_cpu_quota(t.root()) == 1.5);
    t.file("/sys/fs/cgroup/a/b/cpu.max", "100000 100000\n");
    CHECK(cgroup_cpu_quota(t.root()) == 1.0);
}

TEST_CASE("version 2 inside a container: the group is the mount's root") {
    tree t;
    t.file("/proc/self/cgroup", "0::/\n").file("/sys/fs/cgroup/cpu.max", "50000 100000\n");
    CHECK(cgroup_cpu_quota(t.root()) == 0.5);
    t.file("/proc/self/cgroup", "0::/kubepods/of/the/host\n");
    CHECK(cgroup_cpu_quota(t.root()) == 0.5);
}

TEST_CASE("version 1") {
    tree t;
    t.file("/proc/self/cgroup", "5:memory:/x\n4:cpu,cpuacct:/docker/abc\n")
        .file("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "200000\n")
        .file("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
    CHECK(cgroup_cpu_quota(t.root()) == 2.0);
    t.file("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n");
    CHECK_FALSE(cgroup_cpu_quota(t.root()).has_value());
    t.file("/sys/fs/cgroup/cpu/docker/abc/cpu.cfs_quota_us", "300000\n")
        .file("/sys/fs/cgroup/cpu/docker/abc/cpu.cfs_period_us", "100000\n");
    CHECK(cgroup_cpu_quota(t.root()) == 3.0);
    // Controllers whose names only begin alike are others.
    t.file("/proc/self/cgroup", "4:cpuset,cpuacct:/docker/abc\n");
    CHECK_FALSE(cgroup_cpu_quota(t.root()).has_value());
}

TEST_CASE("no limit, no cgroup, nonsense: none") {
    tree t;
    CHECK_FALSE(cgroup_cpu_quota(t.root()).has_value());
    t.file("/proc/self/cgroup", "0::/\n").file("/sys/fs/cgroup/cpu.max", "max 100000\n");
    CHECK_FALSE(cgroup_cpu_quota(t.root()).has_value());
    for (const char* text : {"", "0 100000", "100000 0", "-5 100000", "abc def", "100000"}) {
        t.file("/sys/fs/cgroup/cpu.max", text);
        INFO(text);
        CHECK_FALSE(cgroup_cpu_quota(t.root()).has_value());
    }
}

TEST_CASE("workers: whole CPUs of the quota, at least one, no more than there are") {
    CHECK(worker_count(8, 1.0) == 1);
    CHECK(worker_count(8, 0.25) == 1);
    CHECK(worker_count(8, 1.9) == 1);
    CHECK(worker_count(8, 3.0) == 3);
    CHECK(worker_count(2, 16.0) == 2);
    CHECK(worker_count(4, std::nullopt) == 4);
    CHECK(affinity_cpus() >= 1);
}
