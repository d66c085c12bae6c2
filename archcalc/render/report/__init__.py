"""The page of `archcalc report`: the figures as data, and the HTML, style and script around them."""
