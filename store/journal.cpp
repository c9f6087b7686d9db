// The append path, the folder and its keeper thread.
#include "store/journal.hpp"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/file.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <map>
#include <thread>

#include "core/crc32c.hpp"
#include "core/crypto.hpp"
#include "core/log.hpp"
#include "store/data_dir.hpp"
#include "store/journal_folder.hpp"
#include "store/ledger_codec.hpp"

namespace kw::store {
namespace {

// What an end record needs at most in the usual case, kept for each running exchange once the disk
// is full.
constexpr std::uint64_t end_reserve = 768;
constexpr std::size_t id_length = 32;
constexpr std::uint32_t smallest_segment = 64U << 10U;

std::string new_journal_id() {
    std::array<std::uint8_t, id_length / 2> bytes{};
    crypto::random_bytes(bytes);
    return crypto::to_hex(bytes);
}

std::optional<nanodollars> price_of(nanodollars amount) {
    return amount < 0 ? std::nullopt : std::optional(amount);
}

}  // namespace

journal_writer::journal_writer(journal_log& log) : log_(log) {
    buffer_.reserve(4096);
}
journal_writer::~journal_writer() = default;

void journal_writer::resume(journal_segment& segment, std::uint32_t offset) noexcept {
    segment_ = &segment;
    offset_ = offset;
}

bool journal_writer::has_room(std::size_t payload) const noexcept {
    // Behind the last entry there is always room for the mark that ends the segment.
    return segment_ != nullptr &&
           offset_ + entry_head + 1 + payload + 8 + entry_head <= segment_->size();
}

bool journal_writer::writable() const noexcept {
    if (log_.has_next()) return true;
    if (segment_ == nullptr) return false;
    const std::uint64_t left = segment_->size() - offset_;
    const std::uint64_t quarter = segment_->size() / 4;
    if (log_.starving()) return left > running_ * end_reserve + quarter;
    // Whether there will be a next segment is not known yet: should there be none, something must
    // be left for the ends.
    return left > std::min<std::uint64_t>(running_ * end_reserve, quarter);
}

errc journal_writer::append_start(const exchange_start& start, bool again) {
    if (!writable()) return errc::journal_unavailable;
    // A start is the record that is booked if no end follows.
    auto& r = scratch_;
    r.id = start.id;
    r.started = start.started;
    r.access_key_id = start.access_key_id;
    r.upstream_key_id = start.upstream_key_id;
    r.group_id = start.group_id;
    r.provider = start.provider;
    r.endpoint = start.endpoint;
    r.model_asked = start.model;
    r.model_served = start.model;
    r.tokens.input = start.input_tokens;
    r.tokens.output = start.output_tokens;
    r.cost = price_of(start.cost);
    r.rated_cost = price_of(start.rated_cost);
    r.stream = start.stream;
    r.outcome = usage_outcome::estimated;
    r.end = exchange_end::failed;
    r.error_code = "process_died";
    buffer_.clear();
    encode(r, buffer_);
    const auto code = append_raw(entry_type::start, buffer_);
    if (code == errc::ok && !again) ++running_;
    return code;
}

errc journal_writer::append_end(const ledger_record& record, bool started) {
    // What is left at last is for those that have begun.
    if (!started && !record.operator_cost && !writable()) return errc::journal_unavailable;
    buffer_.clear();
    encode(record, buffer_);
    const auto code = append_raw(entry_type::end, buffer_);
    if (started && running_ > 0) --running_;
    return code;
}

errc journal_writer::append_raw(entry_type type, std::string_view payload) noexcept {
    if (!has_room(payload.size())) {
        auto* const next = log_.take_next();
        if (next == nullptr) return errc::journal_unavailable;
        if (segment_ != nullptr && offset_ + entry_head <= segment_->size())
            segment_->length_at(offset_).store(end_of_segment, std::memory_order_release);
        resume(*next, segment_head);
        if (!has_room(payload.size())) return errc::journal_unavailable;
    }
    char* const at = segment_->data() + offset_;
    const auto length = static_cast<std::uint32_t>(payload.size() + 1);
    at[entry_head] = static_cast<char>(type);
    std::memcpy(at + entry_head + 1, payload.data(), payload.size());
    const auto crc = crc32c(std::string_view(at + entry_head, length));
    std::memcpy(at + 4, &crc, sizeof crc);
    // From here on the entry is whole for whoever reads the file, also after a kill -9.
    segment_->length_at(offset_).store(length, std::memory_order_release);
    const auto begin = offset_;
    offset_ += (entry_head + length + 7U) & ~7U;
    if (log_.folder().options.fsync == fsync_policy::always)
        segment_->sync_range(begin, offset_ - begin);
    log_.publish(position(segment_->number(), offset_), type == entry_type::end);
    return errc::ok;
}

// --- the folder ------------------------------------------------------------------------------

result<void> journal::impl::lock() {
    const auto& path = shared.options.folder;
    if (auto made = make_folder(path); !made)
        return error(errc::journal_unavailable, made.error().context, error_source::store);
    lock_file = file(::open((path + "/lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    if (!lock_file)
        return error(errc::journal_unavailable,
                     "cannot open " + path + "/lock: " + errno_text(errno), error_source::store);
    if (::flock(lock_file.get(), LOCK_EX | LOCK_NB) != 0)
        return error(errc::journal_unavailable,
                     "the journal folder " + path +
                         " is in use by another process: give each its own data directory",
                     error_source::store);
    return {};
}

// Journals of earlier processes, by the names of their segments: "<id>.<number>.seg".
void journal::impl::find_earlier() {
    std::map<std::string, std::vector<std::uint32_t>> found;
    std::error_code ec;
    for (const auto& entry : std::filesystem::directory_iterator(shared.options.folder, ec)) {
        const auto name = entry.path().filename().string();
        if (name.ends_with(".tmp")) {
            std::filesystem::remove(entry.path(), ec);
            continue;
        }
        if (!name.ends_with(".seg") || name.size() < id_length + 6 || name[id_length] != '.')
            continue;
        std::uint32_t number = 0;
        const auto* const end = name.data() + name.size() - 4;
        if (std::from_chars(name.data() + id_length + 1, end, number).ptr == end && number > 0)
            found[name.substr(0, id_length)].push_back(number);
    }
    for (auto& [id, numbers] : found) {
        auto& log = logs.emplace_back(std::make_unique<journal_log>(shared, id, false));
        log->load(std::move(numbers));
    }
}

void journal::impl::keep() {
    using namespace std::chrono_literals;
    auto next_sync = std::chrono::steady_clock::now() + 1s;
    while (!stopping.load(std::memory_order_relaxed)) {
        bool hungry = false;
        for (auto& log : live)
            hungry = !log->prepare_next() || hungry;
        const auto now = std::chrono::steady_clock::now();
        if (now >= next_sync) {
            if (shared.options.fsync == fsync_policy::everysec)
                for (auto& log : live)
                    log->sync_written();
            next_sync = now + 1s;
        }
        pollfd wait{shared.wake.get(), POLLIN, 0};
        ::poll(&wait, 1, hungry ? 200 : 1000);
        eventfd_t ignored = 0;
        if ((wait.revents & POLLIN) != 0) ::eventfd_read(shared.wake.get(), &ignored);
    }
    if (shared.options.fsync != fsync_policy::no)
        for (auto& log : live)
            log->sync_written();
}

journal::impl::~impl() {
    stopping = true;
    if (shared.wake) ::eventfd_write(shared.wake.get(), 1);
    if (keeper.joinable()) keeper.join();
}

result<std::unique_ptr<journal>> journal::open(const journal_options& options,
                                               std::size_t writers) {
    auto i = std::make_unique<impl>();
    i->shared.options = options;
    i->shared.options.segment_bytes =
        std::clamp<std::uint32_t>(options.segment_bytes, smallest_segment, 1U << 30U) & ~7U;
    i->shared.wake = file(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!i->shared.wake)
        return error(errc::journal_unavailable, "eventfd: " + errno_text(errno),
                     error_source::store);
    if (auto locked = i->lock(); !locked) return locked.error();
    // On a small disk many small segments: one goes back as soon as it is confirmed.
    auto& segment = i->shared.options.segment_bytes;
    const auto room = std::min(options.max_bytes, free_bytes(options.folder));
    const auto share = room / (8 * std::max<std::uint64_t>(writers, 1));
    segment = static_cast<std::uint32_t>(
        std::max<std::uint64_t>(smallest_segment, std::min<std::uint64_t>(segment, share)) & ~7ULL);
    i->find_earlier();
    for (std::size_t n = 0; n < writers; ++n) {
        auto& log =
            *i->logs.emplace_back(std::make_unique<journal_log>(i->shared, new_journal_id(), true));
        log.prepare_next();
        i->live.push_back(&log);
        i->writers.push_back(std::make_unique<journal_writer>(log));
    }
    i->keeper = std::thread([p = i.get()] { p->keep(); });
    ::pthread_setname_np(i->keeper.native_handle(), "kw-journal");
    return std::unique_ptr<journal>(new journal(std::move(i)));
}

journal::journal(std::unique_ptr<impl> i) noexcept : impl_(std::move(i)) {}
journal::~journal() = default;

journal_writer& journal::writer(std::size_t index) noexcept {
    return *impl_->writers[index];
}

bool journal::healthy() const noexcept {
    return std::none_of(impl_->live.begin(), impl_->live.end(),
                        [](const journal_log* log) { return log->starving(); });
}

std::uint64_t journal::disk_bytes() const noexcept {
    return impl_->shared.disk_bytes.load();
}

}  // namespace kw::store
