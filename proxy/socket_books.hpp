// What a WebSocket costs and whether it may go on: one record for each of its responses and
// transcriptions, the access key's limits before each response, the access key itself now and then.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "proxy/exchange.hpp"
#include "proxy/socket_relay.hpp"
#include "usage/socket_events.hpp"

namespace kw::proxy {

// Lives in the frame of its exchange; the loop's thread only.
class socket_books final : public socket_watch {
  public:
    // on: the upstream's key, for as long as the socket lives or until it moves.
    socket_books(exchange& of, const pool::picked& on);
    ~socket_books() override;

    void server_begins() override;
    void server_piece(std::string_view piece) override;
    bool server_ends() override;
    net::task<std::optional<socket_ending>> settle() override;
    net::task<verdict> client_message(std::string& text) override;
    std::optional<socket_ending> check() override;

    // Where the first message wants to go, after a verdict that says so.
    struct wish {
        pool::model_route route;
        std::string account;  // "": any
    };
    [[nodiscard]] const wish& wanted() const noexcept { return wish_; }
    void moved(const pool::picked& to);

    // The socket is over: what was under way is booked as an estimate.
    void finish(store::exchange_end end, errc why);

    // Of all that was booked.
    [[nodiscard]] std::int64_t tokens() const noexcept { return tokens_; }

  private:
    // A response, from its begin or the wish for it to its record.
    struct turn {
        store::ledger_record record;
        std::string response_id;  // "": only asked for
        std::string tier;
        mono_time begun;
        mono_time first_content{};
        std::int64_t text = 0;   // bytes of it so far
        std::int64_t audio = 0;  // of base64
        store::amounts reserved;
        bool journaled = false;
        bool admitted = false;
    };
    using ending = std::optional<socket_ending>;

    void take_limits();
    [[nodiscard]] turn make_turn(std::string_view model) const;
    void journal_start(turn& t);
    // Reserves what a response may use at most; `begun`: it is counted whatever the limits say. The
    // refusal, if there is one.
    net::task<std::optional<error>> reserve(turn& t, std::int64_t max_tokens, bool begun);
    net::task<std::optional<error>> ask(turn& t, bool bounded, bool begun);
    [[nodiscard]] std::optional<error> judge(const turn& t, const store::admit_answer& answer,
                                             bool begun) const;
    // What a message names must be the access key's to see, and of one account: that one, or "".
    net::task<result<std::string>> account_of_objects(std::string_view text);
    // Whether the socket's key is of this account.
    [[nodiscard]] bool is_of(std::string_view account) const;
    // Whether the socket's key may be asked for it.
    [[nodiscard]] bool serves(const pool::model_route& route) const;
    // Whoever asks for the response later is led to this account.
    net::task<void> bind_response();
    void bind_session();
    // What the store is to know of an object made here; nothing, if it does.
    [[nodiscard]] std::vector<store::object_binding> bindings_of(const std::string& id,
                                                                 std::chrono::milliseconds keep);
    net::task<ending> begin_response();
    net::task<ending> end_response();
    net::task<ending> book_transcription();
    void drop_unanswered();
    // As the access key is now: a socket may outlive what it was when it was opened.
    [[nodiscard]] usage::multipliers rates() const noexcept;
    void settle_usage(turn& t, const usage::scan_result& scan) const;
    void close_turn(turn& t, store::exchange_end end, errc why);
    [[nodiscard]] std::vector<turn>::iterator find(std::string_view response_id);
    [[nodiscard]] socket_ending ending_for(const error& e) const;
    [[nodiscard]] std::string message_for(const error& e) const;

    exchange& x_;
    usage::socket_scanner server_;
    usage::socket_scanner client_;
    std::vector<turn> turns_;

    std::shared_ptr<const std::shared_ptr<const snapshot>> seen_;  // the access key's latest
    const auth::access_key* access_;
    const auth::access_key* leased_;
    std::shared_ptr<const store::limit_set> limits_;  // without concurrency; null: none
    std::shared_ptr<const store::limit_set> counts_;  // the same cells without a cap

    std::string account_;  // of the upstream key; "": objects are not kept
    std::string owner_;    // of what is made here
    const pool::picked* on_;
    bool first_ = true;  // nothing has gone up yet: the socket may still move
    wish wish_;

    std::int64_t last_input_ = 0;  // tokens of the last response's input
    std::int64_t tokens_ = 0;
    std::string last_ended_;  // id of the response that ended last
};

}  // namespace kw::proxy
