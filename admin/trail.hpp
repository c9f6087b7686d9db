// The store as the admin API writes to it: every change of a record carries its entry of the audit
// trail, in one atomic step, so that there is no change without one.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "admin/caller.hpp"
#include "core/ids.hpp"
#include "core/json_writer.hpp"
#include "store/store.hpp"

namespace kw::admin {

// Control thread. What it wraps outlives it.
class trail final : public store::store {
  public:
    trail(kw::store::store& under, const clock_source& clock, random_source random) noexcept
        : under_(under), clock_(clock), random_(random) {}

    // For as long as it lives, changes are this act's. One at a time.
    class scope {
      public:
        scope(trail& of, const act& what, std::string_view event = "change");
        ~scope();
        scope(const scope&) = delete;
        scope& operator=(const scope&) = delete;
        // Entries written, or tried in vain, since it began.
        [[nodiscard]] std::size_t entries() const noexcept { return of_.entries_; }

      private:
        trail& of_;
        const act* before_;
        std::string_view event_before_;
    };

    // An entry without a change of a record. `details` writes further members of it.
    result<void> note(const act& what, std::string_view event,
                      const std::function<void(json_writer&)>& details = {});

    result<std::uint64_t> put(const kw::store::record& r,
                              std::uint64_t* current = nullptr) override;
    result<kw::store::record> get(std::string_view kind, std::string_view id) override;
    result<void> erase(std::string_view kind, std::string_view id, std::uint64_t revision) override;
    std::vector<result<std::uint64_t>> write_all(
        std::span<const kw::store::change> writes) override;

    // All else is passed on.
    result<kw::store::page<kw::store::record>> list(std::string_view kind,
                                                    const kw::store::page_request& at) override {
        return under_.list(kind, at);
    }
    result<kw::store::changes> changes_since(std::uint64_t revision,
                                             std::size_t limit = kw::store::feed_run,
                                             std::uint64_t server = 0) override {
        return under_.changes_since(revision, limit, server);
    }
    result<bool> wait_change(std::uint64_t revision, std::chrono::milliseconds timeout) override {
        return under_.wait_change(revision, timeout);
    }
    void interrupt_wait() noexcept override { under_.interrupt_wait(); }
    result<void> append_audit(std::span<const kw::store::audit_entry> entries) override {
        return under_.append_audit(entries);
    }
    result<kw::store::page<kw::store::audit_entry>> list_audit(
        const kw::store::audit_query& query) override {
        return under_.list_audit(query);
    }
    result<std::vector<kw::store::batch_status>> apply(
        std::span<const kw::store::ledger_batch> batches) override {
        return under_.apply(batches);
    }
    result<kw::store::batch_numbers> applied_numbers(std::string_view journal) override {
        return under_.applied_numbers(journal);
    }
    result<kw::store::page<kw::store::aggregate>> usage(
        const kw::store::usage_query& query) override {
        return under_.usage(query);
    }
    result<kw::store::ledger_record> find_record(std::string_view id) override {
        return under_.find_record(id);
    }
    result<kw::store::page<kw::store::ledger_record>> list_records(
        const kw::store::record_filter& filter) override {
        return under_.list_records(filter);
    }
    result<std::uint64_t> clean_up() override { return under_.clean_up(); }
    result<void> tell(const kw::store::key_batch& news) override { return under_.tell(news); }
    result<kw::store::key_standings> standings_since(kw::store::key_position at,
                                                     std::size_t limit) override {
        return under_.standings_since(at, limit);
    }
    result<std::vector<std::string>> preflight() override { return under_.preflight(); }
    result<void> ping() override { return under_.ping(); }
    [[nodiscard]] kw::store::store_health health() const override { return under_.health(); }
    [[nodiscard]] std::string_view name() const noexcept override { return under_.name(); }

  private:
    [[nodiscard]] kw::store::audit_entry entry(const act& what, std::string_view event,
                                               const std::function<void(json_writer&)>& details);
    // The record as it was at this revision; none: not known.
    [[nodiscard]] std::optional<std::string> before(const kw::store::change& c);

    kw::store::store& under_;
    const clock_source& clock_;
    random_source random_;
    const act* act_ = nullptr;  // null: keywheel itself
    std::string_view event_ = "change";
    std::size_t entries_ = 0;
    std::size_t looked_up_ = 0;
    wall_time last_{};
    // What was read during this act, so that it need not be read again to be compared with.
    std::map<std::pair<std::string, std::string>, kw::store::record, std::less<>> seen_;
};

}  // namespace kw::admin
