"use strict";
(function () {
  var said = document.getElementById("said");
  function select(code) {
    var range = document.createRange();
    range.selectNodeContents(code);
    var selection = window.getSelection();
    selection.removeAllRanges();
    selection.addRange(range);
  }
  function tell(text) {
    said.textContent = "";
    window.setTimeout(function () { said.textContent = text; }, 50);
  }
  document.querySelectorAll("code[data-copy]").forEach(function (code) {
    var what = code.getAttribute("data-copy");
    var button = document.createElement("button");
    button.type = "button";
    button.textContent = "Copy";
    button.setAttribute("aria-label", "Copy the " + what);
    function done() {
      button.textContent = "Copied";
      tell("Copied the " + what);
      window.setTimeout(function () { button.textContent = "Copy"; }, 2000);
    }
    function byHand() {
      select(code);
      var copied = false;
      try { copied = document.execCommand("copy"); } catch (error) { copied = false; }
      if (copied) { done(); } else { tell("The " + what + " is selected: copy it with the keyboard"); }
    }
    button.addEventListener("click", function () {
      if (navigator.clipboard && window.isSecureContext) {
        navigator.clipboard.writeText(code.textContent).then(done, byHand);
      } else {
        byHand();
      }
    });
    code.insertAdjacentElement("afterend", button);
  });
  var now = new Date();
  var today = new Date(now.getTime() - now.getTimezoneOffset() * 60000).toISOString().slice(0, 10);
  document.querySelectorAll("[data-ends]").forEach(function (label) {
    if (label.getAttribute("data-ends") < today) { label.textContent = "Support ended on"; }
  });
  function reveal() {
    var target = document.querySelector(":target");
    var folded = target && target.closest("details:not([open])");
    if (folded) {
      folded.open = true;
      target.scrollIntoView();
    }
  }
  window.addEventListener("hashchange", reveal);
  reveal();
})();
