// The mock's own books: what was asked, generated and billed, by key and request; and what was seen
// on the wire. The judge of the proxy's accounting, so it shares no code with it.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <string>
#include <string_view>

#include "mock/request.hpp"

namespace kw::mock {

struct token_count {
    std::uint64_t input = 0;
    std::uint64_t output = 0;
    std::uint64_t cached = 0;
    std::uint64_t reasoning = 0;
    std::uint64_t audio_in = 0;   // part of input
    std::uint64_t audio_out = 0;  // part of output
};

struct entry {
    std::uint64_t id = 0;  // given when it ends
    std::uint64_t number = 0;
    std::string key;
    std::string model;
    std::string endpoint;
    std::string test_id;
    int status = 0;
    const char* outcome = "completed";
    bool stream = false;
    int close_code = 0;  // that a WebSocket's client sent; 1006: none
    token_count tokens;
    std::uint64_t bytes_in = 0;
    std::uint64_t bytes_out = 0;
    std::int64_t start_ms = 0;
    std::int64_t end_ms = 0;
    std::string sent_sha256;
    std::string received_sha256;
};

struct sums {
    std::uint64_t requests = 0;
    std::uint64_t refused = 0;
    std::uint64_t completed = 0;
    std::uint64_t aborted = 0;
    std::uint64_t cut = 0;
    token_count tokens;
    std::uint64_t bytes_in = 0;
    std::uint64_t bytes_out = 0;
    std::uint64_t active = 0;
    std::uint64_t max_concurrent = 0;
    std::map<std::string, std::map<int, std::uint64_t>, std::less<>> by;
};

// One request as received, for /__seen.
struct sighting {
    std::uint64_t number = 0;
    std::uint64_t connection = 0;
    std::string raw_head;
    std::string method;
    std::string target;
    std::string version;
    std::string test_id;
    header_list headers;
    header_list trailers;
    std::string body;
    std::string body_sha256;
    std::uint64_t body_bytes = 0;
};

// Any thread.
class books {
  public:
    books(std::size_t keep_entries, std::size_t keep_seen)
        : keep_entries_(keep_entries), keep_seen_(keep_seen) {}

    void open(const std::string& key);
    void close(entry e);
    [[nodiscard]] bool wants_sightings() const noexcept { return keep_seen_ > 0; }
    void saw(sighting s);
    void reset();

    // JSON texts of /__books and /__seen.
    [[nodiscard]] std::string render(std::uint64_t after, std::size_t limit) const;
    [[nodiscard]] std::string render_seen(std::size_t last, std::string_view test_id) const;

  private:
    const std::size_t keep_entries_;
    const std::size_t keep_seen_;
    mutable std::mutex mutex_;  // guards all below
    sums total_;
    std::map<std::string, sums, std::less<>> keys_;
    std::deque<entry> entries_;
    std::uint64_t next_id_ = 1;
    std::uint64_t dropped_ = 0;
    std::deque<sighting> seen_;
    std::size_t seen_bytes_ = 0;
};

}  // namespace kw::mock
