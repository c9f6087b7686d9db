// The two verbs' options, the master keys that a backup needs, which backups are kept.
#include "app/backup_verbs.hpp"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <iostream>
#include <set>

#include "app/opening.hpp"
#include "app/remote.hpp"
#include "app/runtime.hpp"
#include "auth/master_key.hpp"
#include "auth/pepper.hpp"
#include "store/backup.hpp"
#include "store/data_dir.hpp"

namespace kw::app {
namespace {

constexpr std::string_view ending = ".kwbackup";
constexpr std::string_view beginning = "keywheel-";

[[noreturn]] void refuse(const std::string& why) {
    throw std::runtime_error(why);
}

// "2026-01-31T12:34:56Z"; compact: "20260131T123456Z", which sorts by time.
std::string time_text(wall_time at, bool compact) {
    const auto seconds = std::chrono::system_clock::to_time_t(
        std::chrono::time_point_cast<std::chrono::system_clock::duration>(at));
    std::tm utc{};
    ::gmtime_r(&seconds, &utc);
    std::array<char, 32> out{};
    const auto n = std::strftime(out.data(), out.size(),
                                 compact ? "%Y%m%dT%H%M%SZ" : "%Y-%m-%dT%H:%M:%SZ", &utc);
    return {out.data(), n};
}

std::string size_text(std::uint64_t bytes) {
    return std::to_string((bytes + 1023) / 1024) + " KiB";
}

// All master keys at hand: as configured, and what the embedded store keeps itself.
crypto::sealer master_keys(const config::settings& s) {
    std::vector<secret> found;
    for (const secret& given : {s.store.encryption_key, s.store.encryption_key_old})
        if (!given.empty()) found.push_back(given);
    if (s.store.redis_url.empty()) {
        for (const char* name : {"/encryption.key", "/encryption.key.next"}) {
            auto own = store::load_encryption_key(s.store.data_dir + name);
            if (own)
                found.push_back(std::move(*own));
            else if (own.error().code != errc::store_not_found)
                refuse(own.error().context);
        }
    }
    if (found.empty())
        refuse("there is no master key: set store.encryption_key (ENCRYPTION_KEY)" +
               (s.store.redis_url.empty() ? ", or put your copy back as " + s.store.data_dir +
                                                "/encryption.key (mode 0600)"
                                          : std::string()));
    crypto::sealer all(found.front());
    for (const secret& key : found)
        (void)all.add(key);
    return all;
}

struct sealed_with {
    std::vector<std::string> keys;  // that are known
    std::size_t unreadable = 0;     // records that none of them opens
};

// What the store's records were sealed with; refuses where it is another store's master key.
sealed_with look_at(store::store& s, const crypto::sealer& sealer) {
    const auto pepper = s.get(auth::pepper_kind, auth::pepper_id);
    if (!pepper)
        refuse(pepper.error().code == errc::store_not_found
                   ? "the store is empty: there is nothing to back up"
                   : pepper.error().context);
    if (const auto opened = auth::open_pepper(*pepper, sealer); !opened)
        refuse("the master key is not this store's, so that a backup would be of no use (" +
               opened.error().context + ")");
    std::set<std::string, std::less<>> ids;
    sealed_with out;
    for (const auto kind : auth::sealed_kinds) {
        store::page_request at{.limit = 10'000, .cursor = {}};
        do {
            const auto found = s.list(kind, at);
            if (!found) refuse(found.error().context);
            for (const auto& r : found->items) {
                const auto by = auth::sealed_by(r);
                if (by.empty()) continue;
                if (sealer.knows(by))
                    ids.emplace(by);
                else
                    ++out.unreadable;
            }
            at.cursor = found->next;
        } while (!at.cursor.empty());
    }
    out.keys.assign(ids.begin(), ids.end());
    return out;
}

// The oldest go, so that so many are left.
void keep_latest(const std::string& folder, std::size_t keep) {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
        const auto name = entry.path().filename().string();
        if (name.starts_with(beginning) && name.ends_with(ending)) names.push_back(name);
    }
    std::ranges::sort(names, std::greater());
    for (std::size_t i = keep; i < names.size(); ++i) {
        std::filesystem::remove(folder + '/' + names[i]);
        std::cout << "removed " << folder << '/' << names[i] << '\n';
    }
}

void tell(std::string_view what, const std::string& path, const store::backup_summary& s) {
    std::cout << what << ' ' << path << ": store " << s.head.store << ", made "
              << time_text(s.head.made, false) << " by keywheel " << s.head.release << ", "
              << s.items << (s.head.store == "redis" ? " keys, " : " databases, ")
              << size_text(s.bytes) << '\n';
}

}  // namespace

struct backup_verbs::impl {
    explicit impl(const config::environment& with) : env(with) {}

    const config::environment& env;
    CLI::App* backup = nullptr;
    CLI::App* restore = nullptr;
    std::string config_file;
    std::string file;
    std::string folder;
    std::size_t keep = 7;
    bool replace = false;
    bool check = false;

    [[nodiscard]] config::settings settings() const {
        auto loaded = load_configuration(config_file_of(config_file, env), env);
        if (loaded) return std::move(loaded->values);
        std::string text = "the configuration is refused:";
        for (const auto& p : loaded.error().items)
            text += "\n  " + p.to_string();
        refuse(text);
    }

    int make() {
        const auto s = settings();
        const system_clock_source clock;
        const auto sealer = master_keys(s);
        store::backup_head head{
            .store = {}, .release = KEYWHEEL_VERSION, .made = clock.wall(), .master_keys = {}};
        {
            const auto opened = open_existing(s, clock);
            if (!opened) refuse(opened.error().context);
            auto found = look_at(**opened, sealer);
            head.store = (*opened)->name();
            head.master_keys = std::move(found.keys);
            if (found.unreadable > 0)
                std::cerr << "warning: " << found.unreadable
                          << " sealed records open with none of the master keys at hand; they are "
                             "in the backup as they are\n";
        }
        const bool rotates = file.empty();
        auto path = file;
        if (rotates) {
            if (folder.empty()) folder = s.store.data_dir + "/backups";
            if (auto made = store::make_folder(folder); !made) refuse(made.error().context);
            path = folder + '/' + std::string(beginning) + time_text(head.made, true) +
                   std::string(ending);
        }
        if (std::filesystem::exists(path)) refuse(path + " is there already: name another file");
        const auto done = s.store.redis_url.empty()
                              ? store::back_up_embedded(s.store.data_dir, head, path, sealer)
                              : store::back_up_redis(redis_options_of(s), head, path, sealer);
        if (!done) refuse(done.error().context);
        tell("wrote", path, *done);
        if (rotates) keep_latest(folder, keep);
        return 0;
    }

    int bring_back() {
        const auto s = settings();
        const system_clock_source clock;
        const auto sealer = master_keys(s);
        if (check) {
            const auto found = store::check_backup(file, sealer);
            if (!found) refuse(found.error().context);
            tell("whole:", file, *found);
            return 0;
        }
        std::string aside;
        const auto done =
            s.store.redis_url.empty()
                ? store::restore_embedded(file, sealer, s.store.data_dir, replace, clock, &aside)
                : store::restore_redis(file, sealer, redis_options_of(s), replace);
        if (!done) refuse(done.error().context);
        tell("restored", file, *done);
        if (!aside.empty()) std::cout << "what was there is in " << aside << '\n';
        return 0;
    }
};

backup_verbs::backup_verbs(CLI::App& cli, const config::environment& env)
    : impl_(std::make_unique<impl>(env)) {
    impl& m = *impl_;
    m.backup = cli.add_subcommand(
        "backup", "Write all data of the store to a sealed file; a server may run meanwhile");
    m.backup->add_option("--config", m.config_file, "YAML file of the server");
    auto* dir = m.backup->add_option("--dir", m.folder,
                                     "Folder for a file named by the time (default: backups in "
                                     "the data directory)");
    m.backup->add_option("--keep", m.keep, "How many such files are kept there")
        ->check(CLI::Range(1, 100'000));
    m.backup->add_option("--out", m.file, "This file instead")->excludes(dir);

    m.restore = cli.add_subcommand(
        "restore", "Bring the store back as a backup has it; no server may run on it");
    m.restore->add_option("file", m.file, "What backup wrote")->required();
    m.restore->add_option("--config", m.config_file, "YAML file of the server");
    m.restore->add_flag("--replace", m.replace,
                        "Even if the store holds data (databases are moved aside, Redis' keys "
                        "are thrown away)");
    m.restore->add_flag("--check", m.check, "Only see whether the file is whole and opens");
}

backup_verbs::~backup_verbs() = default;

int backup_verbs::run() {
    if (*impl_->backup) return impl_->make();
    if (*impl_->restore) return impl_->bring_back();
    return -1;
}

}  // namespace kw::app
