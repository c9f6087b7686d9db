// One question to the desk for all that waits, and its answer to each.
#include "proxy/place_finder.hpp"

#include <iterator>
#include <utility>

namespace kw::proxy {
namespace {

constexpr std::size_t most_ids = 1'024;  // of a question, unless one request alone has more

}  // namespace

place_finder::place_finder(net::loop& on, store::object_desk& desk)
    : loop_(on), desk_(desk), wait_(on) {
    root_.start("place finder", run());
}

void place_finder::ask(std::vector<std::string> ids, std::shared_ptr<question<answer>> asker) {
    if (!ids_.empty() && ids_.size() + ids.size() > most_ids) send();
    parts_.push_back({ids.size(), std::move(asker)});
    ids_.insert(ids_.end(), std::move_iterator(ids.begin()), std::move_iterator(ids.end()));
    wait_.wake();
}

// Runs after the exchanges that are ready in a turn.
net::task<void> place_finder::run() {
    for (;;) {
        co_await wait_.wait(net::woken);
        if (!parts_.empty()) send();
    }
}

void place_finder::send() {
    auto tell = [parts = std::make_shared<std::vector<part>>(std::exchange(parts_, {})),
                 &loop = loop_](answer got) {
        // What is posted must be copyable.
        loop.post([parts, got = std::make_shared<answer>(std::move(got))] {
            std::size_t at = 0;
            for (auto& p : *parts) {
                if (!*got) {
                    p.asker->answer = got->error();
                } else {
                    const auto from =
                        std::move_iterator((*got)->begin()) + static_cast<std::ptrdiff_t>(at);
                    const auto count = static_cast<std::ptrdiff_t>(p.ids);
                    p.asker->answer.emplace(std::vector<store::object_place>(from, from + count));
                    at += p.ids;
                }
                if (p.asker->asking != nullptr) p.asker->asking->wake();
            }
        });
    };
    desk_.find(std::exchange(ids_, {}), std::move(tell));
}

}  // namespace kw::proxy
