// Backup and restore of the two databases in a data directory.
#include "store/backup.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "store/backup_file.hpp"
#include "store/embedded/sqlite.hpp"
#include "store/file.hpp"

namespace kw::store {
namespace {

namespace fs = std::filesystem;

constexpr const char* books = "keywheel.db";
constexpr std::array databases{books, "objects.db"};
constexpr std::array endings{"", "-wal", "-shm"};

error failed(errc code, std::string why) {
    return error(code, std::move(why), error_source::store);
}

bool exists(const std::string& path) noexcept {
    return ::access(path.c_str(), F_OK) == 0;
}

// A folder that goes with what is in it.
class work_folder {
  public:
    explicit work_folder(std::string path) : path_(std::move(path)) {}
    work_folder(const work_folder&) = delete;
    work_folder& operator=(const work_folder&) = delete;
    ~work_folder() {
        std::error_code ignored;
        fs::remove_all(path_, ignored);
    }
    // Anew, for its owner alone.
    [[nodiscard]] result<void> make() const {
        std::error_code ignored;
        fs::remove_all(path_, ignored);
        if (::mkdir(path_.c_str(), 0700) == 0) return {};
        return failed(errc::internal, "cannot make folder " + path_ + ": " + errno_text(errno));
    }
    [[nodiscard]] std::string file(std::string_view name) const {
        return path_ + '/' + std::string(name);
    }

  private:
    std::string path_;
};

// As of one moment, whoever writes there.
result<void> copy_database(const std::string& from, const std::string& to) {
    auto db = sqlite::connection::open(from);
    if (!db) return db.error();
    {
        auto copy = (*db)->prepare("VACUUM INTO ?");
        copy.bind(to).step();
    }
    if ((*db)->ok()) return {};
    return failed(errc::store_unavailable, from + " cannot be copied: " + (*db)->failure());
}

result<void> add_file(backup_writer& out, std::string_view item, const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    std::string piece(1U << 20U, '\0');
    while (in) {
        in.read(piece.data(), static_cast<std::streamsize>(piece.size()));
        const auto n = static_cast<std::size_t>(in.gcount());
        out.add(item, std::string_view(piece).substr(0, n), in.eof());
    }
    if (in.eof()) return {};
    return failed(errc::internal, "cannot read " + path);
}

// The items as files of the folder, synced.
result<void> unpack(const std::string& path, const crypto::sealer& sealer,
                    const work_folder& into) {
    auto in = backup_reader::open(path, sealer);
    if (!in) return in.error();
    file out;
    backup_piece piece;
    for (;;) {
        const auto more = in->next(piece);
        if (!more) return more.error();
        if (!*more) return {};
        if (std::ranges::find(databases, piece.item) == databases.end())
            return failed(errc::invalid_argument, path +
                                                      ": it holds what this release does not "
                                                      "know; restore it with the release that "
                                                      "made it");
        const auto to = into.file(piece.item);
        if (!out) out = file(::open(to.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
        if (!out || !write_all(out.get(), piece.bytes) || (piece.last && ::fsync(out.get()) != 0))
            return failed(errc::internal, "cannot write " + to + ": " + errno_text(errno));
        if (piece.last) out.reset();
    }
}

// Whether a store of this release can work with what was unpacked.
result<void> try_out(const work_folder& folder, const std::string& path,
                     const clock_source& clock) {
    for (const std::string name : databases) {
        if (!exists(folder.file(name))) continue;
        auto db = sqlite::connection::open(folder.file(name));
        if (!db) return db.error();
        auto said = (*db)->prepare("PRAGMA integrity_check");
        if (!said.step() || said.text(0) != "ok")
            return failed(errc::invalid_argument, path + ": " + name + " in it is damaged");
    }
    if (!exists(folder.file(books)))
        return failed(errc::invalid_argument, path + ": it holds no " + books);
    const auto opened = open_embedded({.data_dir = folder.file("."), .keep = {}}, clock);
    if (!opened) return opened.error();
    return {};
}

bool any_there(const std::string& folder) {
    for (const std::string name : databases)
        for (const char* ending : endings)
            if (exists(folder + '/' + name + ending)) return true;
    return false;
}

result<void> move_all(const std::string& from, const std::string& to) {
    for (const std::string name : databases) {
        for (const char* ending : endings) {
            const auto file = '/' + name + ending;
            if (!exists(from + file)) continue;
            if (::rename((from + file).c_str(), (to + file).c_str()) != 0)
                return failed(errc::internal,
                              "cannot move " + from + file + ": " + errno_text(errno));
        }
    }
    return {};
}

}  // namespace

result<backup_summary> back_up_embedded(const std::string& data_dir, const backup_head& head,
                                        const std::string& path, const crypto::sealer& sealer) {
    if (!exists(data_dir + '/' + books))
        return failed(errc::store_unavailable, "there is no store in " + data_dir);
    // Beside the backup: there must be room for it there anyway.
    const work_folder work(path + ".work");
    if (auto made = work.make(); !made) return made.error();
    auto out = backup_writer::begin(path, sealer, head);
    if (!out) return out.error();
    for (const std::string name : databases) {
        if (!exists(data_dir + '/' + name)) continue;
        const auto copy = work.file(name);
        if (auto done = copy_database(data_dir + '/' + name, copy); !done) return done.error();
        if (auto done = add_file(*out, name, copy); !done) return done.error();
        ::unlink(copy.c_str());
    }
    return out->commit();
}

result<backup_summary> restore_embedded(const std::string& path, const crypto::sealer& sealer,
                                        const std::string& data_dir, bool replace,
                                        const clock_source& clock, std::string* moved_to) {
    const auto checked = check_backup(path, sealer);
    if (!checked) return checked.error();
    if (checked->head.store != "embedded")
        return failed(errc::invalid_argument,
                      path +
                          " is a backup of Redis: set store.redis_url (export and import move "
                          "what is configured from one to the other)");
    if (auto made = make_folder(data_dir); !made) return made.error();
    // The lock that a running server holds.
    const auto journal = data_dir + "/journal";
    if (auto made = make_folder(journal); !made) return made.error();
    const file lock(::open((journal + "/lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    if (!lock || ::flock(lock.get(), LOCK_EX | LOCK_NB) != 0)
        return failed(errc::store_conflict, "a server runs on " + data_dir + ": stop it first");
    const auto unfinished = data_dir + '/' + unfinished_restore;
    const bool again = exists(unfinished);
    if (!replace && !again && exists(data_dir + '/' + books))
        return failed(errc::store_conflict,
                      data_dir + " holds a store; with --replace it is moved aside");
    const work_folder staged(data_dir + "/restore.staged");
    if (auto made = staged.make(); !made) return made.error();
    if (auto done = unpack(path, sealer, staged); !done) return done.error();
    if (auto good = try_out(staged, path, clock); !good) return good.error();

    const auto aside = data_dir + "/replaced-" + std::to_string(unix_ms(clock.wall()));
    if (auto marked = replace_file(unfinished, path + '\n'); !marked) return marked.error();
    if (any_there(data_dir)) {
        if (auto made = make_folder(aside); !made) return made.error();
        if (moved_to != nullptr) *moved_to = aside;
        if (auto done = move_all(data_dir, aside); !done) return done.error();
    }
    if (auto done = move_all(staged.file("."), data_dir); !done) return done.error();
    if (!sync_folder(data_dir) || ::unlink(unfinished.c_str()) != 0 || !sync_folder(data_dir))
        return failed(errc::internal, "cannot finish in " + data_dir + ": " + errno_text(errno));
    return *checked;
}

}  // namespace kw::store
