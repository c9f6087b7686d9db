// One blocking connection to Redis with deadlines: TCP, TLS or a unix socket. hiredis parses
// replies; the sockets are ours.
#pragma once

#include <chrono>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.hpp"
#include "core/secret.hpp"
#include "store/store.hpp"

namespace kw::store::redis {

using deadline = std::chrono::steady_clock::time_point;

class cluster_map;

struct place {
    std::string host = "127.0.0.1";
    std::string port = "6379";

    [[nodiscard]] std::string name() const { return host + ":" + port; }
    friend auto operator<=>(const place&, const place&) = default;
};

struct target {
    place at;            // of a single server
    std::string socket;  // path; wins over it
    redis_mode mode = redis_mode::single;
    std::vector<place> seeds;  // Sentinels, or some nodes of a Cluster
    std::string master_name;   // among Sentinels
    std::string sentinel_user;
    secret sentinel_password;
    std::shared_ptr<cluster_map> cluster;  // of a Cluster; shared by all who have this target
    bool must_be_master = false;           // asked for its role
    std::string user;
    secret password;
    std::string db;
    bool tls = false;
    bool verify = true;
    std::string ca_file;
    std::string cert_file;
    std::string key_file;
    std::string tls_name;  // that certificates must bear; "": the address
    std::string client_name;

    // For logs and errors: no user, no password.
    [[nodiscard]] std::string name() const;
    // One server of these.
    [[nodiscard]] target server(const place& where) const;
};

// errc::invalid_argument, without echoing the URL: it is none, or a file of TLS cannot be used.
[[nodiscard]] result<target> parse_target(const redis_options& options);
[[nodiscard]] result<void> check_tls(const target& to);
// "host:port", "[v6]:port", "host"; also the address in a redirection, whose host may be empty.
[[nodiscard]] std::optional<place> parse_place(std::string_view text);

// Where the master is, as the first Sentinel says that answers, from number `first` on, which then
// becomes the next one's. errc::store_unavailable.
[[nodiscard]] result<target> find_master(const target& among, deadline until, std::size_t& first);

struct reply {
    enum class kind : std::uint8_t { nil, status, error, integer, text, array };
    kind is = kind::nil;
    std::int64_t number = 0;
    std::string text;  // also of a status and an error
    std::vector<reply> items;

    [[nodiscard]] bool is_error() const noexcept { return is == kind::error; }
    // The number in an integer or a text, 0 for anything else.
    [[nodiscard]] std::int64_t as_number() const noexcept;
};

// Commands that go out together, in the form that Redis reads (RESP: arrays of bulk strings).
class pipeline {
  public:
    // A command of so many words, which follow one by one.
    void begin(std::size_t words);
    void word(std::string_view text);
    // One word that is made of several.
    void word(std::initializer_list<std::string_view> parts);
    void number(std::int64_t n);
    // Words that another pipeline has encoded.
    void encoded(std::string_view words) { bytes_.append(words); }
    // So many whole commands of another pipeline.
    void commands(std::string_view bytes, std::size_t count) {
        bytes_.append(bytes);
        count_ += count;
    }

    void add(std::span<const std::string_view> words);
    void add(std::initializer_list<std::string_view> words) {
        add(std::span(words.begin(), words.size()));
    }
    [[nodiscard]] std::size_t size() const noexcept { return count_; }
    [[nodiscard]] const std::string& bytes() const noexcept { return bytes_; }
    // For who sends them piece by piece: what is sent is to be taken out.
    [[nodiscard]] std::string& unsent() noexcept { return bytes_; }

  private:
    void head(char kind, std::size_t n);

    std::string bytes_;
    std::size_t count_ = 0;
};

// One thread at a time. After any error it is closed.
class connection {
  public:
    connection();
    ~connection();
    connection(const connection&) = delete;
    connection& operator=(const connection&) = delete;

    // Connects, AUTH, SELECT, CLIENT SETNAME; among Sentinels to the master that they tell. Not to
    // a Cluster as a whole.
    [[nodiscard]] result<void> open(const target& to, deadline until);
    void close() noexcept;
    [[nodiscard]] bool is_open() const noexcept;
    [[nodiscard]] int descriptor() const noexcept;

    // One reply for each command, errors of the server among them. errc::store_unavailable.
    [[nodiscard]] result<std::vector<reply>> exchange(const pipeline& commands, deadline until);
    // The two halves of it, for one who asks several servers at a time.
    [[nodiscard]] result<void> send(const pipeline& commands, deadline until);
    [[nodiscard]] result<std::vector<reply>> receive(std::size_t replies, deadline until);
    // For one who polls the descriptor and has many commands under way: writes what the socket
    // takes of `out` and removes it, appends the replies that have come to `in` if the descriptor
    // is `readable`. Never waits.
    [[nodiscard]] result<void> turn(std::string& out, std::vector<reply>& in, bool readable = true);
    // Throws away what the server sent unasked (messages of a subscription); false: it is gone.
    [[nodiscard]] bool drain();

  private:
    struct impl;
    std::unique_ptr<impl> impl_;
};

}  // namespace kw::store::redis
