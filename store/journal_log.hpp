// One journal on disk: its segments, how entries lie in them, and reading them back. Internal to
// the journal and its shipper.
#pragma once

#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.hpp"
#include "store/file.hpp"
#include "store/journal.hpp"

namespace kw::store {

// Where an entry begins: segment number in the upper half, offset in the lower.
using journal_position = std::uint64_t;

[[nodiscard]] constexpr journal_position position(std::uint32_t segment,
                                                  std::uint32_t offset) noexcept {
    return std::uint64_t{segment} << 32U | offset;
}
[[nodiscard]] constexpr std::uint32_t segment_of(journal_position p) noexcept {
    return static_cast<std::uint32_t>(p >> 32U);
}
[[nodiscard]] constexpr std::uint32_t offset_of(journal_position p) noexcept {
    return static_cast<std::uint32_t>(p);
}

enum class entry_type : std::uint8_t { start = 1, end = 2 };

// Layout of an entry, aligned to 8 bytes; the length is written last and makes it visible:
//   u32 length of type and payload | u32 crc32c of them | u8 type | payload
inline constexpr std::uint32_t entry_head = 8;
inline constexpr std::uint32_t segment_head = 64;
inline constexpr std::uint32_t end_of_segment = 0xFFFF'FFFF;  // as a length: go on in the next

// A mapped file of fixed size, zero where nothing was written.
class journal_segment {
  public:
    // Preallocates: an errc::journal_unavailable says why the disk did not take it.
    static result<std::shared_ptr<journal_segment>> create(const std::string& folder,
                                                           const std::string& id,
                                                           std::uint32_t number,
                                                           std::uint32_t bytes);
    // errc::invalid_argument: not a segment of that journal.
    static result<std::shared_ptr<journal_segment>> open(const std::string& folder,
                                                         const std::string& id,
                                                         std::uint32_t number);
    ~journal_segment();
    journal_segment(const journal_segment&) = delete;
    journal_segment& operator=(const journal_segment&) = delete;

    [[nodiscard]] char* data() noexcept { return data_; }
    [[nodiscard]] std::uint32_t size() const noexcept { return size_; }
    [[nodiscard]] std::uint32_t number() const noexcept { return number_; }
    [[nodiscard]] std::atomic_ref<std::uint32_t> length_at(std::uint32_t offset) noexcept {
        return std::atomic_ref(*reinterpret_cast<std::uint32_t*>(data_ + offset));
    }
    bool sync() noexcept;                                                 // fdatasync
    bool sync_range(std::uint32_t offset, std::uint32_t bytes) noexcept;  // for `always`
    void truncate(std::uint32_t bytes) noexcept;  // gives back the disk space behind
    void let_go() noexcept;  // out of memory; comes back by itself when it is read
    void remove() noexcept;

  private:
    journal_segment(std::string path, file fd, char* data, std::uint32_t size,
                    std::uint32_t number) noexcept;
    std::string path_;
    file fd_;
    char* data_;
    std::uint32_t size_;
    std::uint32_t mapped_;
    std::uint32_t number_;
};

// What all journals of a folder share.
struct journal_folder {
    journal_options options;
    std::atomic<std::uint64_t> disk_bytes{0};
    std::atomic<bool> hungry{false};  // a live journal got no room when it asked last

    // Room is scarce: what the store has confirmed is not kept any longer.
    [[nodiscard]] bool tight() const noexcept {
        return hungry.load(std::memory_order_relaxed) ||
               disk_bytes.load(std::memory_order_relaxed) > options.max_bytes / 2;
    }
    file wake;  // eventfd: a writer took its next segment
};

struct journal_entry {
    entry_type type{};
    std::string_view payload;  // in the mapped segment
    journal_position begin = 0;
    journal_position end = 0;
};

// One id, one writer. The writer's thread uses take_next() and publish(); all else is for the
// keeper and the shipper, under the mutex where they share.
class journal_log {
  public:
    journal_log(journal_folder& folder, std::string id, bool live);

    [[nodiscard]] const std::string& id() const noexcept { return id_; }
    [[nodiscard]] bool live() const noexcept { return live_; }
    [[nodiscard]] journal_folder& folder() noexcept { return folder_; }

    // writer
    [[nodiscard]] journal_segment* take_next() noexcept;
    void publish(journal_position committed, bool end_entry) noexcept;
    [[nodiscard]] bool has_next() const noexcept {
        return next_.load(std::memory_order_acquire) != nullptr;
    }
    [[nodiscard]] bool starving() const noexcept {
        return starving_.load(std::memory_order_relaxed);
    }

    // keeper
    bool prepare_next();  // false: the disk or the limit did not allow it
    void sync_written();  // the segments written since the last call

    // shipper
    [[nodiscard]] journal_position committed() const noexcept {
        return committed_.load(std::memory_order_acquire);
    }
    [[nodiscard]] std::uint64_t end_entries() const noexcept {
        return end_entries_.load(std::memory_order_relaxed);
    }
    // The next entry at or after `at`, moving `at` behind it; false: nothing more is committed.
    // Entries that do not check out are skipped and counted. checked: what lies there has been read
    // and checked before.
    bool read(journal_position& at, journal_entry& entry, bool checked = false);
    [[nodiscard]] journal_position first() const;
    [[nodiscard]] std::uint64_t corrupt() const noexcept {
        return corrupt_.load(std::memory_order_relaxed);
    }
    void sync(journal_position from, journal_position to);
    void trim_before(std::uint32_t segment);
    // What lies before it is synced and hardly read again: its memory is given back, the file
    // stays.
    void let_go_before(std::uint32_t segment);
    void remove();
    [[nodiscard]] std::uint64_t bytes_between(journal_position from, journal_position to) const;

    // Earlier journals. load() opens the segments that are there; close_with() appends entries
    // behind the last one, then gives back unused space.
    void load(std::vector<std::uint32_t> numbers);
    [[nodiscard]] errc close_with(const std::vector<std::string_view>& ends);

    [[nodiscard]] std::string path(std::string_view suffix) const {
        return folder_.options.folder + "/" + id_ + std::string(suffix);
    }

  private:
    [[nodiscard]] std::shared_ptr<journal_segment> at_or_after(std::uint32_t number) const;
    void find_end();

    journal_folder& folder_;
    const std::string id_;
    const bool live_;
    std::atomic<journal_position> committed_{0};
    std::atomic<journal_segment*> next_{nullptr};
    std::atomic<bool> starving_{false};
    std::atomic<std::uint64_t> end_entries_{0};
    std::atomic<std::uint64_t> corrupt_{0};
    mutable std::mutex mutex_;
    std::deque<std::shared_ptr<journal_segment>> segments_;  // by number; the last may be unused
    std::shared_ptr<journal_segment> reading_;               // the shipper's, as the next
    std::uint32_t let_go_ = 0;                               // before it nothing is held in memory
    std::uint32_t next_number_ = 1;
    std::uint32_t synced_from_ = 1;  // the keeper's: the first segment that may be unsynced
    journal_position synced_to_ = 0;
};

}  // namespace kw::store
