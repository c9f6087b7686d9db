// The store in Redis: one server, or the masters of a Cluster. Records and the feed carry the hash
// tag {m}; each shard of the ledger {0} … {15}. Keys, behind the prefix:
//   {m}:rec:<kind>  hash id → "revision json"      {m}:ids:<kind>  sorted set of the ids
//   {m}:rev  counter     {m}:feed  sorted set "kind:id" by revision     {m}:state:<name>
//   {m}:audit  hash id → entry     {m}:audited  sorted set of the ids by microseconds
//   {m}:keys  hash upstream key id → line    {m}:keys:feed  sorted set of the ids by sequence
//   {m}:keys:told:<replica>  number of its last batch
//   {s}:num:<journal>    {s}:led  hash id → record  {s}:time  sorted set of ids by milliseconds
//   {s}:events  stream of usage events, where they are wanted
//   {s}:agg:<span>:<bucket>:<dimension>  hash <code of the field><subject> → sum
#pragma once

#include <atomic>

#include "store/file.hpp"
#include "store/redis/channel.hpp"
#include "store/store.hpp"

namespace kw::store::redis {

class redis_store final : public store {
  public:
    redis_store(target to, const redis_options& options, const clock_source& clock);

    result<std::uint64_t> put(const record& r, std::uint64_t* current) override;
    result<record> get(std::string_view kind, std::string_view id) override;
    result<page<record>> list(std::string_view kind, const page_request& at) override;
    result<void> erase(std::string_view kind, std::string_view id, std::uint64_t revision) override;
    std::vector<result<std::uint64_t>> write_all(std::span<const change> writes) override;
    result<changes> changes_since(std::uint64_t revision, std::size_t limit,
                                  std::uint64_t server) override;
    result<bool> wait_change(std::uint64_t revision, std::chrono::milliseconds timeout) override;
    void interrupt_wait() noexcept override;
    result<void> append_audit(std::span<const audit_entry> entries) override;
    result<page<audit_entry>> list_audit(const audit_query& query) override;
    result<std::vector<batch_status>> apply(std::span<const ledger_batch> batches) override;
    result<batch_numbers> applied_numbers(std::string_view journal) override;
    result<page<aggregate>> usage(const usage_query& query) override;
    result<ledger_record> find_record(std::string_view id) override;
    result<page<ledger_record>> list_records(const record_filter& filter) override;
    result<std::uint64_t> clean_up() override;
    result<void> tell(const key_batch& news) override;
    result<key_standings> standings_since(key_position at, std::size_t limit) override;
    result<std::vector<std::string>> preflight() override;
    result<void> ping() override;
    [[nodiscard]] store_health health() const override { return board_.now(); }
    [[nodiscard]] std::string_view name() const noexcept override { return "redis"; }

  private:
    [[nodiscard]] std::string global(std::string_view name, std::string_view rest = {}) const;
    [[nodiscard]] std::string sharded(std::size_t shard, std::string_view rest) const;
    [[nodiscard]] std::string aggregate_key(std::size_t shard, span length, std::string_view bucket,
                                            dimension by) const;
    void add_write(pipeline& to, std::string_view kind, std::string_view id, std::uint64_t expected,
                   std::string_view json, bool erase, const audit_entry* trail = nullptr);
    result<std::uint64_t> clean_up_audit();
    result<std::uint64_t> write_record(std::string_view kind, std::string_view id,
                                       std::uint64_t expected, std::string_view json, bool erase,
                                       std::uint64_t* current);
    void add_batch(pipeline& to, const ledger_batch& batch);

    const target to_;
    const redis_options options_;
    const clock_source& clock_;
    health_board board_;
    channel control_;  // what people and the control thread ask
    channel ledger_;   // the shipper's, so that a large batch does not hold up the others
    channel feed_;
    channel keys_;  // upstream keys: often, and not behind what a person asks
    file interrupt_;
    std::atomic<bool> odd_line_told_{false};
};

}  // namespace kw::store::redis
