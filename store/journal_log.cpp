// Reading, trimming and closing one journal.
#include "store/journal_log.hpp"

#include <sys/eventfd.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "core/crc32c.hpp"
#include "core/log.hpp"
#include "store/data_dir.hpp"

namespace kw::store {
namespace {

constexpr std::uint64_t kept_free = 128U << 10U;

}  // namespace

journal_log::journal_log(journal_folder& folder, std::string id, bool live)
    : folder_(folder), id_(std::move(id)), live_(live) {}

journal_segment* journal_log::take_next() noexcept {
    auto* next = next_.exchange(nullptr, std::memory_order_acq_rel);
    // Once in thousands of records: the keeper makes the segment after this one.
    if (next != nullptr) ::eventfd_write(folder_.wake.get(), 1);
    return next;
}

void journal_log::publish(journal_position committed, bool end_entry) noexcept {
    if (end_entry) end_entries_.fetch_add(1, std::memory_order_relaxed);
    committed_.store(committed, std::memory_order_release);
}

bool journal_log::prepare_next() {
    if (has_next()) return true;
    const auto bytes = folder_.options.segment_bytes;
    const bool was_starving = starving();
    const auto refuse = [&](std::string_view why) {
        starving_.store(true, std::memory_order_relaxed);
        folder_.hungry.store(true, std::memory_order_relaxed);
        if (!was_starving)
            log::event(log::level::error, "journal.full",
                       {{"journal", id_}, {"folder", folder_.options.folder}, {"reason", why}});
        return false;
    };
    // The last of the disk is for what brings the journal away from it: cuts, open exchanges.
    if (live_ && free_bytes(folder_.options.folder) < bytes + kept_free)
        return refuse("the disk is full");
    // Reserved before it is made: several journals may ask at once.
    if (folder_.disk_bytes.fetch_add(bytes) + bytes > folder_.options.max_bytes) {
        folder_.disk_bytes.fetch_sub(bytes);
        return refuse("the journal has reached its size limit");
    }
    auto made = journal_segment::create(folder_.options.folder, id_, next_number_, bytes);
    if (!made) {
        folder_.disk_bytes.fetch_sub(bytes);
        return refuse(made.error().context);
    }
    if (folder_.options.fsync != fsync_policy::no) {
        (*made)->sync();
        static_cast<void>(sync_folder(folder_.options.folder));
    }
    ++next_number_;
    {
        const std::lock_guard lock(mutex_);
        segments_.push_back(*made);
    }
    starving_.store(false, std::memory_order_relaxed);
    folder_.hungry.store(false, std::memory_order_relaxed);
    next_.store(made->get(), std::memory_order_release);
    if (was_starving) log::event(log::level::info, "journal.room_again", {{"journal", id_}});
    return true;
}

void journal_log::sync_written() {
    const auto to = committed();
    if (to == synced_to_) return;
    sync(position(synced_from_, 0), to);
    synced_from_ = segment_of(to);
    synced_to_ = to;
}

void journal_log::sync(journal_position from, journal_position to) {
    std::vector<std::shared_ptr<journal_segment>> touched;
    {
        const std::lock_guard lock(mutex_);
        for (const auto& s : segments_)
            if (s->number() >= segment_of(from) && s->number() <= segment_of(to))
                touched.push_back(s);
    }
    for (const auto& s : touched)
        s->sync();
}

std::shared_ptr<journal_segment> journal_log::at_or_after(std::uint32_t number) const {
    const std::lock_guard lock(mutex_);
    for (const auto& s : segments_)
        if (s->number() >= number) return s;
    return nullptr;
}

journal_position journal_log::first() const {
    const std::lock_guard lock(mutex_);
    return segments_.empty() ? 0 : position(segments_.front()->number(), segment_head);
}

std::uint64_t journal_log::bytes_between(journal_position from, journal_position to) const {
    if (to <= from) return 0;
    const std::lock_guard lock(mutex_);
    std::uint64_t bytes = 0;
    for (const auto& s : segments_) {
        if (s->number() < segment_of(from) || s->number() > segment_of(to)) continue;
        const auto begin = s->number() == segment_of(from) ? offset_of(from) : segment_head;
        const auto end = s->number() == segment_of(to) ? offset_of(to) : s->size();
        bytes += end > begin ? end - begin : 0;
    }
    return bytes;
}

bool journal_log::read(journal_position& at, journal_entry& entry, bool checked) {
    const auto limit = committed();
    while (at < limit) {
        if (!reading_ || reading_->number() != segment_of(at)) {
            reading_ = at_or_after(segment_of(at));
            if (!reading_) return false;
            if (reading_->number() != segment_of(at))
                at = position(reading_->number(), segment_head);
            if (at >= limit) return false;
        }
        const auto offset = offset_of(at);
        const auto size = reading_->size();
        const auto room = offset + entry_head < size ? size - offset - entry_head : 0;
        const auto length = room == 0 ? end_of_segment
                                      : reading_->length_at(offset).load(std::memory_order_acquire);
        if (length == 0 || length == end_of_segment || length > room) {
            // Zero or nonsense before the committed end: power was lost before it was written out.
            if (length != end_of_segment) corrupt_.fetch_add(1, std::memory_order_relaxed);
            at = position(reading_->number() + 1, segment_head);
            continue;
        }
        const char* const begin = reading_->data() + offset;
        std::uint32_t crc = 0;
        std::memcpy(&crc, begin + 4, sizeof crc);
        const std::string_view body(begin + entry_head, length);
        const auto here = at;
        at += (entry_head + length + 7U) & ~7U;
        if (!checked && crc32c(body) != crc) {
            corrupt_.fetch_add(1, std::memory_order_relaxed);
            continue;
        }
        entry = {static_cast<entry_type>(body[0]), body.substr(1), here, at};
        return true;
    }
    return false;
}

void journal_log::let_go_before(std::uint32_t segment) {
    if (segment <= let_go_) return;
    const std::lock_guard lock(mutex_);
    for (const auto& s : segments_)
        if (s->number() >= let_go_ && s->number() < segment) s->let_go();
    let_go_ = segment;
}

void journal_log::trim_before(std::uint32_t segment) {
    const std::lock_guard lock(mutex_);
    while (!segments_.empty() && segments_.front()->number() < segment) {
        folder_.disk_bytes.fetch_sub(segments_.front()->size());
        segments_.front()->remove();
        segments_.pop_front();
    }
}

void journal_log::remove() {
    reading_.reset();
    trim_before(0xFFFF'FFFF);
    for (const auto* suffix : {".batches", ".open"})
        ::unlink(path(suffix).c_str());
}

void journal_log::load(std::vector<std::uint32_t> numbers) {
    std::sort(numbers.begin(), numbers.end());
    for (const auto number : numbers) {
        auto segment = journal_segment::open(folder_.options.folder, id_, number);
        if (!segment) {
            corrupt_.fetch_add(1, std::memory_order_relaxed);
            log::event(log::level::warn, "journal.segment_unreadable",
                       {{"journal", id_}, {"reason", segment.error().context}});
            continue;
        }
        folder_.disk_bytes.fetch_add((*segment)->size());
        segments_.push_back(std::move(*segment));
        next_number_ = number + 1;
    }
    find_end();
}

// Everything up to the last entry that can be seen is committed.
void journal_log::find_end() {
    for (auto s = segments_.rbegin(); s != segments_.rend(); ++s) {
        std::uint32_t offset = segment_head;
        while (offset + entry_head < (*s)->size()) {
            const auto length = (*s)->length_at(offset).load(std::memory_order_acquire);
            if (length == 0 || length > (*s)->size() - offset - entry_head) break;
            offset += (entry_head + length + 7U) & ~7U;
        }
        if (offset > segment_head || s + 1 == segments_.rend()) {
            committed_.store(position((*s)->number(), std::min(offset, (*s)->size())));
            break;
        }
    }
    journal_entry entry;
    std::uint64_t ends = 0;
    for (auto at = first(); read(at, entry);)
        ends += entry.type == entry_type::end ? 1 : 0;
    end_entries_.store(ends);
}

errc journal_log::close_with(const std::vector<std::string_view>& ends) {
    {
        // Segments made ahead and never used.
        const std::lock_guard lock(mutex_);
        while (!segments_.empty() && segments_.back()->number() > segment_of(committed())) {
            folder_.disk_bytes.fetch_sub(segments_.back()->size());
            segments_.back()->remove();
            segments_.pop_back();
        }
    }
    const auto last = at_or_after(segment_of(committed()));
    journal_writer writer(*this);
    if (last) writer.resume(*last, offset_of(committed()));
    for (const auto end : ends) {
        if (!writer.has_room(end.size()) && !prepare_next()) return errc::journal_unavailable;
        if (const auto code = writer.append_raw(entry_type::end, end); code != errc::ok)
            return code;
    }
    const auto keep = at_or_after(segment_of(committed()));
    if (keep && keep->size() > offset_of(committed())) {
        const auto before = keep->size();
        keep->truncate(offset_of(committed()));
        folder_.disk_bytes.fetch_sub(before - keep->size());
    }
    return errc::ok;
}

}  // namespace kw::store
