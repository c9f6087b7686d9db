// One request and its answer: framing, codings and the faults that strike while bytes flow.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "mock/encode.hpp"
#include "mock/server.hpp"

namespace kw::mock {

// A streaming answer as pieces: what comes before the tokens, each token, what comes after.
struct stream_script {
    std::string type = "text/event-stream; charset=utf-8";
    std::string prologue;
    std::size_t tokens = 0;
    std::function<void(std::string& out, std::size_t i)> token;
    std::string epilogue;
    std::string done;        // left out by no_done
    std::string broken;      // the event of bad_json
    std::string error;       // the event of error_event
    std::string huge_begin;  // the event of huge_event, around its filling
    std::string huge_end;
    std::uint64_t reasoning = 0;  // billed with the first token
};

// Lives in its connection's frame; same thread. Its operations return false when the exchange is
// over, by a fault or by the client.
class exchange {
  public:
    exchange(server& s, wire& w, request& r);

    server& shared;
    wire& io;
    request& in;
    behaviour faults;
    entry record;
    header_list extra;    // headers of the answer besides the usual ones
    std::string account;  // whose objects it sees; "" : everybody's

    [[nodiscard]] std::string request_id() const { return "mock-" + std::to_string(record.number); }
    // The tail of ids inside bodies: the test's id, or the number.
    [[nodiscard]] std::string id_tail() const;
    [[nodiscard]] bool keep_alive() const noexcept { return keep_alive_; }
    void close_after() noexcept { keep_alive_ = false; }
    // Ended by a fault, not by the client.
    void mark_cut() noexcept { cut_ = true; }
    // The client went away.
    void mark_gone() noexcept { failed_ = true; }
    [[nodiscard]] bool cut() const noexcept { return cut_; }
    [[nodiscard]] bool failed() const noexcept { return failed_; }

    net::task<bool> send(std::string_view bytes);
    net::task<bool> pause(int ms);
    // A whole answer; tokens are billed when its head is sent.
    net::task<bool> answer(int status, std::string_view type, std::string_view body,
                           token_count bill = {});
    net::task<bool> json(std::string_view body, token_count bill = {}) {
        return answer(200, "application/json", body, bill);
    }
    // An error in the shape of the endpoint's family.
    net::task<bool> refuse(int status, std::string_view code = {}, std::string_view message = {});
    net::task<bool> stream(stream_script script, token_count input);
    // Payload of a size, without being held whole.
    net::task<bool> zeros(std::string_view type, std::uint64_t bytes);

  private:
    [[nodiscard]] std::string head(int status, std::string_view type) const;
    net::task<bool> begin(int status, std::string_view type, const std::string& framing);
    // One chunk of a chunked body, buffered while nothing has to wait.
    void add(std::string_view payload);
    net::task<bool> flush();
    net::task<bool> finish_chunked();
    net::task<bool> token_faults(const stream_script& script, std::size_t i);
    net::task<bool> break_off();

    bool keep_alive_;
    bool cut_ = false;
    bool failed_ = false;
    std::string out_;
    std::unique_ptr<encoder> encode_;
    std::unique_ptr<hasher> hash_;
};

[[nodiscard]] std::string account_name(std::string_view key);
[[nodiscard]] std::string error_body(std::string_view path, int status, std::string_view code,
                                     std::string_view message, std::string_view request_id);
// Sends what `malformed` names and ends the connection.
net::task<void> send_malformed(exchange& x, std::string_view kind);

}  // namespace kw::mock
