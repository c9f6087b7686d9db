// What the threads of one mock share.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "mock/books.hpp"
#include "mock/director.hpp"
#include "mock/mock_upstream.hpp"
#include "mock/tls.hpp"

namespace kw::mock {

// The words answers are made of: one long text, any stretch of which is an answer.
class word_table {
  public:
    explicit word_table(std::uint64_t seed);
    static constexpr std::size_t size = 4096;
    [[nodiscard]] std::string_view word(std::size_t i) const noexcept;
    // n words from word `from` on.
    [[nodiscard]] std::string text(std::size_t from, std::size_t n) const;

  private:
    std::string text_;
    std::vector<std::size_t> begins_;  // size + 1
};

// An uploaded file, a batch, a thread, a stored response, ….
struct stored_object {
    std::string json;
    std::string content;
    std::uint64_t number = 0;  // in order of creation
};

struct server {
    explicit server(const mock_options& o)
        : options(o), ledger(o.keep_entries, o.keep_seen), direct(options), words(o.seed) {}

    const mock_options options;
    books ledger;
    director direct;
    const word_table words;
    ssl_context tls;

    std::atomic<std::uint64_t> next_request{1};
    std::atomic<std::uint64_t> accepted{0};
    std::atomic<std::uint64_t> open{0};
    std::atomic<std::uint64_t> max_open{0};
    std::atomic<std::uint64_t> resumed{0};

    // Objects by account and path, the oldest dropped past the limit.
    static constexpr std::size_t object_limit = 20'000;
    std::mutex objects_mutex;  // guards what follows
    std::map<std::string, stored_object> objects;
    std::deque<std::string> object_order;
    std::uint64_t next_object = 1;
};

}  // namespace kw::mock
