// One journal on its way to the store.
#include "store/shipping.hpp"

#include <algorithm>

#include "core/log.hpp"
#include "store/binary.hpp"
#include "store/data_dir.hpp"
#include "store/ledger_codec.hpp"

namespace kw::store {
namespace {

constexpr std::size_t max_unsent_cuts = 64;  // what is behind stays in the journal, unread
constexpr std::size_t max_open_file = 256U << 20U;
const std::string once_prefix = "once-";

}  // namespace

shipping::shipping(journal_log& log, const shipper_options& options)
    : log_(log), options_(options), file_(log.path(".batches")) {}

void shipping::follow(const journal_entry& entry) {
    const auto names = peek(entry.payload);
    if (!names) {
        ++undecodable_;
        return;
    }
    const auto started = open_.find(names->id);
    if (started != open_.end()) open_.erase(started);
    if (entry.type == entry_type::start) {
        open_.emplace(names->id, open_start{entry.begin, entry.payload, {}});
        return;
    }
    if (entry.begin < cut_to_) return;
    growing_.shards |= 1U << shard_of(names->access_key_id);
    ++growing_.records;
}

// Its record has a peek.
void shipping::own(open_start start) {
    start.kept = std::make_unique<const std::string>(start.record);
    start.record = *start.kept;
    const auto id = peek(start.record)->id;
    open_.erase(id);  // its key lies in another record's bytes
    open_.emplace(id, std::move(start));
}

void shipping::own_before(std::uint32_t segment) {
    std::vector<open_start> old;
    for (auto& [id, start] : open_)
        if (!start.kept && segment_of(start.begin) < segment)
            old.push_back({start.begin, start.record, {}});
    for (auto& start : old)
        own(std::move(start));
}

result<void> shipping::prepare() {
    if (prepared_) return {};
    auto cuts = file_.load();
    if (!cuts) return cuts.error();
    cuts_.clear();
    open_.clear();
    undecodable_ = 0;
    next_ = 0;
    growing_ = {};
    const auto first = log_.first();
    cut_to_ = first;
    for (const auto& c : *cuts) {
        growing_.numbers = c.numbers;
        cut_to_ = std::max(cut_to_, c.to);
        // Cuts whose segments are gone were confirmed long ago.
        if (segment_of(c.from) >= segment_of(first)) cuts_.push_back({c, {}, {}, false});
    }
    // Exchanges that began in segments that are gone.
    if (const auto text = read_file(log_.path(".open"), max_open_file); text) {
        std::string_view in = *text;
        std::string payload;
        while (take_text(in, payload))
            if (peek(payload)) own({0, payload, {}});
        open_file_ = true;
    }
    journal_entry entry;
    journal_position at = first;
    std::uint64_t ends_before_cut = 0;
    while (log_.read(at, entry)) {
        if (log_.live() && entry.begin >= cut_to_) break;
        if (entry.type == entry_type::end && entry.begin < cut_to_) ++ends_before_cut;
        follow(entry);
    }
    if (!log_.live()) {
        std::vector<std::string_view> ends;
        for (const auto& [id, start] : open_)
            ends.push_back(start.record);
        std::sort(ends.begin(), ends.end());
        if (const auto code = log_.close_with(ends); code != errc::ok)
            return error(code, "no room to close the journal " + log_.id(), error_source::store);
        if (!ends.empty())
            log::event(log::level::warn, "journal.recovered",
                       {{"journal", log_.id()}, {"unfinished", ends.size()}});
        recovered_ += ends.size();
        open_.clear();
        growing_.shards = 0;
        growing_.records = 0;
    }
    std::uint64_t in_kept_cuts = 0;
    for (const auto& c : cuts_)
        in_kept_cuts += c.cut.records;
    confirmed_records_ = ends_before_cut - std::min(ends_before_cut, in_kept_cuts);
    read_to_ = cut_to_;
    growing_.from = cut_to_;
    prepared_ = true;
    return {};
}

result<void> shipping::cut(mono_time now, bool force) {
    std::vector<journal_cut> made;
    while (cuts_.size() + made.size() - next_ < max_unsent_cuts) {
        journal_entry entry;
        while (growing_.records < options_.max_records && log_.read(read_to_, entry)) {
            if (growing_.records == 0) growing_since_ = now;
            follow(entry);
        }
        const bool full = growing_.records >= options_.max_records;
        if (growing_.records == 0 || (!full && !force && now - growing_since_ < options_.interval))
            break;
        made.push_back(finish_growing());
    }
    return made.empty() ? result<void>() : fix(made, now);
}

journal_cut shipping::finish_growing() {
    auto done = growing_;
    done.to = read_to_;
    for (std::size_t s = 0; s < shard_count; ++s)
        done.numbers[s] += done.has(s) ? 1 : 0;
    growing_ = {};
    growing_.from = done.to;
    growing_.numbers = done.numbers;
    return done;
}

// Many cuts at the price of one: what waits for the disk is the same for one and for all.
result<void> shipping::fix(std::span<const journal_cut> made, mono_time now) {
    const bool sync = log_.folder().options.fsync != fsync_policy::no;
    // What is sent must outlive a power loss: else its exchange would be booked again as one that
    // never ended.
    if (sync) log_.sync(made.front().from, made.back().to);
    if (auto written = file_.append(made, sync); !written) {
        // It all becomes one cut at the next try.
        const auto& first = made.front();
        growing_.from = first.from;
        growing_.numbers = first.numbers;
        for (std::size_t s = 0; s < shard_count; ++s)
            growing_.numbers[s] -= first.has(s) ? 1 : 0;
        for (const auto& c : made) {
            growing_.records += c.records;
            growing_.shards |= c.shards;
        }
        return written;
    }
    for (const auto& c : made)
        cuts_.push_back({c, now, {}, false});
    cut_to_ = made.back().to;
    return {};
}

std::vector<ledger_batch> shipping::batches_of(const kept_cut& kept,
                                               std::vector<ledger_batch>& once) {
    std::array<ledger_batch, shard_count> parts;
    // What this process has written and followed was checked then.
    const bool checked = log_.live() && log_.corrupt() == 0;
    journal_entry entry;
    for (auto at = kept.cut.from; at < kept.cut.to && log_.read(at, entry, checked);) {
        if (entry.begin >= kept.cut.to) break;
        if (entry.type != entry_type::end) continue;
        const auto r = decode_view(entry.payload);
        if (!r) {
            ++undecodable_;
            continue;
        }
        const auto shard = shard_of(r->access_key_id);
        if (is_late(r->id)) {
            if (kept.cut.numbers[shard] <= held_[shard]) continue;
            // Its id is a journal of its own, whose one batch is applied once, whoever sends it.
            auto& alone = once.emplace_back();
            alone.journal = once_prefix;
            alone.journal += r->id;
            alone.shard = shard;
            alone.number = 1;
            alone.encoded.push_back(entry.payload);
            alone.records.push_back(*r);
            alone.sums = sum_records(alone.records);
            continue;
        }
        auto& part = parts[shard];
        part.records.push_back(*r);
        part.encoded.push_back(entry.payload);
    }
    std::vector<ledger_batch> out;
    for (std::size_t s = 0; s < shard_count; ++s) {
        if (!kept.cut.has(s) || kept.cut.numbers[s] <= held_[s]) continue;
        auto& batch = out.emplace_back(std::move(parts[s]));
        batch.journal = log_.id();
        batch.shard = s;
        batch.number = kept.cut.numbers[s];
        batch.after = held_[s];
        batch.sums = sum_records(batch.records);
    }
    return out;
}

void shipping::held_is(std::size_t shard, std::uint64_t number) {
    // Fewer than it held: it failed over to an older state. What is still in the journal is sent
    // again from there.
    if (number < held_[shard]) {
        log::event(log::level::warn, "journal.store_fell_back",
                   {{"journal", log_.id()},
                    {"shard", shard},
                    {"held", number},
                    {"confirmed", held_[shard]}});
        next_ = 0;
        for (auto& kept : cuts_)
            kept.confirmed.reset();
    }
    held_[shard] = number;
}

void shipping::confirm(mono_time now) {
    const auto held = [this](const journal_cut& cut) {
        for (std::size_t s = 0; s < shard_count; ++s)
            if (cut.has(s) && cut.numbers[s] > held_[s]) return false;
        return true;
    };
    while (next_ < cuts_.size() && held(cuts_[next_].cut)) {
        auto& kept = cuts_[next_];
        kept.confirmed = now;
        if (!kept.counted) {
            confirmed_records_ += kept.cut.records;
            shipped_ += kept.cut.records;
        }
        kept.counted = true;
        ++next_;
    }
    // Kept on disk for a failover, but minutes of them in memory would be most of the process.
    const auto segment = segment_of(next_ < cuts_.size() ? cuts_[next_].cut.from : cut_to_);
    if (segment <= let_go_) return;
    own_before(segment);
    log_.let_go_before(segment);
    let_go_ = segment;
}

result<bool> shipping::send(store& to, mono_time now) {
    if (!knows_held_ && next_ < cuts_.size())
        if (auto known = check(to, now); !known) return known.error();
    confirm(now);
    if (next_ >= cuts_.size()) return false;
    std::vector<ledger_batch> once;
    const auto batches = batches_of(cuts_[next_], once);
    // Before the others: with these the store holds the cut, and nothing of it is sent again.
    if (!once.empty()) {
        if (const auto done = to.apply(once); !done) {
            knows_held_ = false;
            return done.error();
        }
    }
    auto answers = to.apply(batches);
    if (!answers) {
        knows_held_ = false;  // it may be another server when it comes back
        return answers.error();
    }
    for (std::size_t i = 0; i < batches.size() && i < answers->size(); ++i) {
        if ((*answers)[i].applied) lost_batches_ += batches[i].number - 1 - batches[i].after;
        held_is(batches[i].shard, (*answers)[i].held);
        if (!log_.live() && options_.recovered && (*answers)[i].held >= batches[i].number)
            options_.recovered(batches[i].records);
    }
    confirm(now);
    return true;
}

result<void> shipping::check(store& with, mono_time now) {
    if (cuts_.empty() || (knows_held_ && now - checked_ < options_.check)) return {};
    const auto numbers = with.applied_numbers(log_.id());
    if (!numbers) return numbers.error();
    for (std::size_t s = 0; s < shard_count; ++s)
        held_is(s, (*numbers)[s]);
    knows_held_ = true;
    checked_ = now;
    confirm(now);
    return {};
}

result<void> shipping::save_open(std::uint32_t before_segment) {
    own_before(before_segment);
    std::string text;
    for (const auto& [id, start] : open_)
        if (segment_of(start.begin) < before_segment) put_text(text, start.record);
    if (text.empty() && !open_file_) return {};
    if (auto saved = replace_file(log_.path(".open"), text); !saved) return saved;
    open_file_ = !text.empty();
    return {};
}

result<bool> shipping::trim(mono_time now) {
    while (next_ > 0 && cuts_.front().confirmed &&
           (log_.folder().tight() || now - *cuts_.front().confirmed >= options_.keep)) {
        cuts_.pop_front();
        --next_;
    }
    if (!log_.live() && cuts_.empty() && read_to_ >= log_.committed() && growing_.records == 0) {
        log_.remove();
        return true;
    }
    const auto keep_from = segment_of(cuts_.empty() ? cut_to_ : cuts_.front().cut.from);
    if (keep_from <= segment_of(log_.first())) return false;
    if (auto saved = save_open(keep_from); !saved) return saved.error();
    log_.trim_before(keep_from);
    std::deque<journal_cut> kept;
    for (const auto& c : cuts_)
        kept.push_back(c.cut);
    if (kept.empty()) {
        // The numbers must outlive the cuts that they came from.
        journal_cut last;
        last.from = last.to = cut_to_;
        last.numbers = growing_.numbers;
        kept.push_back(last);
    }
    if (auto done = file_.compact(kept); !done) return done.error();
    return false;
}

bool shipping::confirmed_up_to(journal_position target) const noexcept {
    return prepared_ && next_ >= cuts_.size() && read_to_ >= target && growing_.records == 0;
}

void shipping::add_to(shipper_stats& stats, mono_time now) const {
    const auto ends = log_.end_entries();
    if (ends > confirmed_records_) stats.backlog_records += ends - confirmed_records_;
    const auto from = next_ < cuts_.size() ? cuts_[next_].cut.from : growing_.from;
    if (ends > confirmed_records_)
        stats.backlog_bytes += log_.bytes_between(from, log_.committed());
    std::optional<mono_time> oldest;
    if (next_ < cuts_.size())
        oldest = cuts_[next_].made;
    else if (growing_.records > 0)
        oldest = growing_since_;
    if (oldest)
        stats.oldest_unconfirmed =
            std::max(stats.oldest_unconfirmed,
                     std::chrono::duration_cast<std::chrono::milliseconds>(now - *oldest));
    stats.shipped_records += shipped_;
    stats.recovered_starts += recovered_;
    stats.corrupt_entries += log_.corrupt() + undecodable_;
    stats.lost_batches += lost_batches_;
}

}  // namespace kw::store
